//! The attributes of `corering`.
