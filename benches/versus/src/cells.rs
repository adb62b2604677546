//! The cells of the echo workloads: how many connections, with messages of how many bytes.

use std::fmt;
use std::str::FromStr;

use crate::pattern::MESSAGE_MAX;

/// One cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cell {
    pub(crate) connections: usize,
    pub(crate) bytes: usize,
}

const fn cell(connections: usize, bytes: usize) -> Cell {
    Cell { connections, bytes }
}

/// The cells of `echo` without `--cells`.
pub(crate) const ECHO: [Cell; 8] = [
    cell(1, 64),
    cell(1, 4096),
    cell(64, 64),
    cell(64, 4096),
    cell(1024, 64),
    cell(1024, 4096),
    cell(64, 16_384),
    cell(64, 65_536),
];

/// Those of `proxy`.
pub(crate) const PROXY: [Cell; 3] = [cell(64, 4096), cell(64, 16_384), cell(64, 65_536)];

/// Those of `unix`.
pub(crate) const UNIX: [Cell; 2] = [cell(64, 64), cell(64, 4096)];

/// Those of `udp`, whose connections are sockets.
pub(crate) const UDP: [Cell; 4] = [cell(1, 64), cell(1, 1400), cell(64, 64), cell(64, 1400)];

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
        for cell in ECHO {
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
