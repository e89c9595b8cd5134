"""The cost core: pure, cited functions. Floats in; seconds, bytes, joules or dollars out; arrays
work as well as floats."""
