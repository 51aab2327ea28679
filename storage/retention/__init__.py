"""The retention: policies that say which versions of an image may go, and the runs that apply them."""
