//! Headers that ask for what is not built are refused, never ignored.
