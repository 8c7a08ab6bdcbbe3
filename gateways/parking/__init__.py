"""The network side towards the systems of lots and operators: messages go out to addresses that strangers have entered."""
