//! The cells of `echo`: how many connections, with messages of how many bytes.

use std::fmt;
use std::str::FromStr;

use crate::pattern::MESSAGE_MAX;

/// One cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cell {
    pub(crate) connections: usize,
    pub(crate) bytes: usize,
}

/// The cells of a run without `--cells`.
pub(crate) const CELLS: [Cell; 8] = [
    Cell {
        connections: 1,
        bytes: 64,
    },
    Cell {
        connections: 1,
        bytes: 4096,
    },
    Cell {
        connections: 64,
        bytes: 64,
    },
    Cell {
        connections: 64,
        bytes: 4096,
    },
    Cell {
        connections: 1024,
        bytes: 64,
    },
    Cell {
        connections: 1024,
        bytes: 4096,
    },
    Cell {
        connections: 64,
        bytes: 16_384,
    },
    Cell {
        connections: 64,
        bytes: 65_536,
    },
];

const CONNECTIONS_MAX: usize = 4096;

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.connections, self.bytes)
    }
}

impl FromStr for Cell {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (connections, bytes) = text.split_once('x')?;
            Some(Self {
                connections: connections.parse().ok()?,
                bytes: bytes.parse().ok()?,
            })
        };
        parse()
            .filter(|cell| (1..=CONNECTIONS_MAX).contains(&cell.connections))
            .filter(|cell| (1..=MESSAGE_MAX).contains(&cell.bytes))
            .ok_or_else(|| {
                format!(
                    "a cell is CONNECTIONSxBYTES, as in 64x4096: up to {CONNECTIONS_MAX} \
                     connections and {MESSAGE_MAX} bytes"
                )
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_read_as_it_is_written() {
        for cell in CELLS {
            assert_eq!(cell.to_string().parse(), Ok(cell));
        }
    }

    #[test]
    fn what_the_load_cannot_do_is_refused() {
        for text in [
            "", "64", "x64", "0x64", "64x0", "64x65537", "4097x64", "64x64x64",
        ] {
            assert!(text.parse::<Cell>().is_err(), "{text}");
        }
    }
}
