"""Pay codes for print: sheets of stickers and posters as PDF and SVG, vector throughout."""
