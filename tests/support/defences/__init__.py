"""The tier of defences: each is taken out of a copy of the program, and the tests named for it must fail then."""
