//! What the simulated kernel does otherwise, and why that stays.

/// A line of a script that differs.
pub(crate) struct Difference {
    pub(crate) script: &'static str,
    /// The label of the line.
    pub(crate) label: &'static str,
    #[allow(dead_code, reason = "for the reader")]
    pub(crate) reason: &'static str,
}

pub(crate) const DIFFERENCES: &[Difference] = &[
    Difference {
        script: "a_port_that_waits",
        label: "bound",
        reason: "TIME_WAIT is not simulated: TcpListener::bind reuses such a port anyway, and only \
                 a bind without reuse_address could tell",
    },
    Difference {
        script: "a_socket_connects_to_itself",
        label: "connect",
        reason: "TCP's simultaneous open is not simulated: nobody means to do it",
    },
    Difference {
        script: "a_file_with_a_large_hole",
        label: "write",
        reason: "a simulated file is in memory with its holes: EFBIG from 1 GiB on, where a disk \
                 says so at its own limit",
    },
    Difference {
        script: "a_file_with_a_large_hole",
        label: "length",
        reason: "as its write",
    },
];
