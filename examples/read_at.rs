//! Reads a part of a file into a buffer that the kernel borrows meanwhile.
//!
//!     cargo run --example read_at -- [FILE [OFFSET [BYTES]]]
//!
//! Without arguments it reads the beginning of its own source.

use std::io::{self, Write};

use corering::fs::File;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/read_at.rs");
const BYTES_MAX: u64 = 1024 * 1024;

#[corering::main]
async fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().unwrap_or_else(|| SOURCE.into());
    let offset = number(arguments.next(), 0)?;
    let bytes = number(arguments.next(), 64)?.min(BYTES_MAX);

    let file = File::open(&path).await?;
    // The buffer moves into the read and comes back with it, also if it fails: the kernel may write
    // to it until then, whatever becomes of this future.
    let buf = Vec::with_capacity(bytes as usize);
    let (read, buf) = file.read_at(buf, offset).await;
    let n = read?;
    file.close().await?;

    println!("{path}: {n} bytes from {offset}");
    io::stdout().write_all(&buf)?;
    println!();
    Ok(())
}

fn number(text: Option<String>, default: u64) -> io::Result<u64> {
    text.map_or(Ok(default), |text| text.parse().map_err(io::Error::other))
}
