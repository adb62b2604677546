//! What an op may lend, and how it is written down.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};

use super::super::{Sqe, opcode};

#[test]
fn an_empty_submission_has_no_descriptor() {
    // SAFETY: nothing is lent.
    let raw = unsafe { Sqe::new().into_raw(5) };
    assert_eq!((raw.fd, raw.opcode, raw.user_data), (-1, opcode::NOP, 5));
}

#[test]
fn more_than_the_kernel_moves_at_once_is_clamped() {
    let bytes = [0_u8; 1];
    let mut sqe = Sqe::new();
    sqe.op(opcode::WRITE)
        .lend(bytes.as_ptr(), 3 << 30)
        .offset(9);
    // SAFETY: it is never pushed.
    let raw = unsafe { sqe.into_raw(0) };
    assert_eq!((raw.len, raw.off), (0x7fff_f000, 9));
    assert_eq!(raw.addr, bytes.as_ptr() as u64);
    let mut bytes = bytes;
    let mut sqe = Sqe::new();
    sqe.op(opcode::READ)
        .lend_mut(bytes.as_mut_ptr(), usize::MAX);
    // SAFETY: it is never pushed.
    assert_eq!(unsafe { sqe.into_raw(0) }.len, 0x7fff_f000);
}

/// What an op's `fill` may look like; `{body}` is what each case puts in.
const PROGRAM: &str = r#"
#![crate_type = "lib"]
#![allow(dead_code, unused)]
mod fd { pub(crate) struct Fd; impl Fd { pub(crate) fn raw(&self) -> i32 { 0 } } }
#[path = "{folder}/opcode.rs"] mod opcode;
#[path = "{folder}/sqe.rs"] mod sqe;
use {fd::Fd, sqe::Sqe, std::rc::Rc};
struct Op { fd: Rc<Fd>, address: [u8; 28], len: u32 }
fn fill<'op>(op: &'op mut Op, sqe: &mut Sqe<'op>) { {body} }
"#;

/// The rules are the compiler's, so it is asked.
#[test]
fn an_op_lends_what_it_owns_and_nothing_else() {
    let cases = [
        ("sqe.fd(&op.fd).address(&op.address);", None),
        ("let local = 7_u64; sqe.address(&local);", Some("E0597")),
        (
            "let mut local = [0; 8]; sqe.address_mut(&mut local);",
            Some("E0597"),
        ),
        ("let fd = op.fd.clone(); sqe.fd(&fd);", Some("E0597")),
        (
            "let path = std::ffi::CString::default(); sqe.path(&path);",
            Some("E0597"),
        ),
        ("sqe.address_mut(&mut op.len); op.len = 1;", Some("E0506")),
        (
            "sqe.address_mut(&mut op.len).address_mut(&mut op.len);",
            Some("E0499"),
        ),
        (
            "sqe.address_mut(&mut op.len); sqe.address(&op.len);",
            Some("E0502"),
        ),
    ];
    for (body, expected) in cases {
        let errors = compile(body);
        match expected {
            None => assert_eq!(errors, "", "`{body}` is fine"),
            Some(code) => assert!(errors.contains(code), "`{body}` is {code}, not:\n{errors}"),
        }
    }
}

/// The compiler's errors.
fn compile(body: &str) -> String {
    let folder = Path::new(file!())
        .parent()
        .and_then(Path::parent)
        .expect("src/ring");
    let folder = fs::canonicalize(folder).expect("tests run in the package's root");
    let program = PROGRAM
        .replace("{folder}", &folder.display().to_string())
        .replace("{body}", body);
    let source = scratch("rs");
    fs::write(&source, program).expect("a file beside the test program");
    let compiler = env::var_os("RUSTC").unwrap_or("rustc".into());
    let output = Command::new(compiler)
        .args([
            "--edition=2024",
            "--emit=metadata",
            "--error-format=short",
            "-o",
        ])
        .args([scratch("rmeta"), source.clone()])
        .output()
        .expect("rustc, as cargo found it");
    let _ = fs::remove_file(scratch("rmeta"));
    fs::remove_file(source).expect("it was just written");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.success(), errors.is_empty(), "{errors}");
    errors
}

fn scratch(extension: &str) -> PathBuf {
    let program = env::current_exe().expect("the path of the test program");
    program.with_file_name(format!("lend-{}.{extension}", process::id()))
}

#[test]
fn what_is_copied_at_once_weighs_more() {
    let weight = |op, len, ioprio| {
        let mut sqe = Sqe::new();
        sqe.op(op).len(len).ioprio(ioprio);
        // SAFETY: nothing is lent, and it is never pushed.
        let raw = unsafe { sqe.into_raw(0) };
        assert!(raw.may_be_heavy() || raw.weight() == 1);
        raw.weight()
    };
    assert_eq!(weight(opcode::SEND, 64, 0), 1);
    assert_eq!(weight(opcode::SEND, 65_536, 0), 9);
    assert_eq!(weight(opcode::WRITE, 16_384, 0), 3);
    assert_eq!(weight(opcode::RECV, 65_536, 0), 9);
    assert_eq!(weight(opcode::RECV, 65_536, opcode::POLL_FIRST), 1);
    assert_eq!(weight(opcode::OPENAT, 65_536, 0), 1);
}
