//! (header follows with the module)
