//! The memory of a core is on the NUMA node of its CPU.
//!
//! Where there is one node, nothing else is possible; CI boots kernels that have two.
#![allow(unsafe_code)]

use std::collections::BTreeSet;
use std::io;
use std::ptr;

use corering::cores::{Core, cpus};
use corering::net::{TcpListener, TcpStream};
use corering::{Cores, spawn};

const PAGE: usize = 4096;
const LEN: usize = 256 * 1024;

#[test]
fn a_cores_memory_is_on_the_node_of_its_cpu() {
    if let Err(e) = nodes_of(&[0]) {
        return println!("skipped: nobody says where a page is: {e}");
    }
    let cores = Cores::all().unwrap();
    let count = cores.len();
    let started = cores.start(|core| async move { look(&core).await });
    let mut nodes = BTreeSet::new();
    for ended in started.unwrap().join() {
        let (own, seen) = ended.output.unwrap().unwrap();
        for (what, on) in seen {
            assert_eq!(on, [own].into(), "{what} of core {}", ended.core);
        }
        nodes.insert(own);
    }
    println!("{count} cores on {} nodes", nodes.len());
}

type Nodes = BTreeSet<usize>;

/// The core's node, and where the memory is that it allocates and that its ring lends it.
async fn look(core: &Core) -> io::Result<(usize, Vec<(&'static str, Nodes)>)> {
    let cpu = core.cpu().expect("a CPU of its own");
    let own = cpus()?.into_iter().find(|one| one.id == cpu);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let client = TcpStream::connect(listener.local_addr()?).await?;
    let (server, _) = listener.accept().await?;

    let (large, small) = (vec![1; LEN], Box::new([1; 64]));
    let mut seen = vec![
        ("the stack", nodes_of(&[core.index() as u8; 64])?),
        ("a vector", nodes_of(&large)?),
        ("a box", nodes_of(&*small)?),
    ];
    let writing = spawn(async move { client.write_all(large).await.0 });
    let mut left = LEN;
    while left > 0 {
        let lease = server.recv().await?.expect("there is more");
        seen.push(("a lease", nodes_of(&lease)?));
        left -= lease.len();
    }
    writing.await.unwrap()?;
    Ok((own.expect("it is used").node, seen))
}

/// The nodes of the pages that these bytes are on.
fn nodes_of(bytes: &[u8]) -> io::Result<Nodes> {
    let range = bytes.as_ptr_range();
    let first = range.start as usize & !(PAGE - 1);
    let pages: Vec<usize> = (first..range.end as usize).step_by(PAGE).collect();
    let mut nodes = vec![-1; pages.len()];
    let (itself, moves_nothing, no_flags) = (0, ptr::null::<i32>(), 0);
    // SAFETY: both lists are as long as is said, and live until it returns. It only reads the
    // addresses in the first one.
    let asked = unsafe {
        libc::syscall(
            libc::SYS_move_pages,
            itself,
            pages.len(),
            pages.as_ptr(),
            moves_nothing,
            nodes.as_mut_ptr(),
            no_flags,
        )
    };
    if asked != 0 {
        return Err(io::Error::last_os_error());
    }
    // A negative one is an error: no page there.
    let known = nodes.into_iter().map(usize::try_from);
    let known: Result<Nodes, _> = known.collect();
    known.map_err(|_| io::Error::other("a page that was used is not there"))
}
