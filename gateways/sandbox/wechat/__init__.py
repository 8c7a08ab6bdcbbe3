"""The stand-in for WeChat Pay."""
