//! Files.

mod file;
mod open_options;

pub use self::file::File;
pub use self::open_options::OpenOptions;
