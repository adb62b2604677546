//! Tests that change what holds for a whole process run in one of their own.

use std::any;
use std::env;
use std::process::Command;

const VARIABLE: &str = "CORERING_TEST_CHILD";
/// After this many seconds a child is killed by its alarm.
const PATIENCE_S: u32 = 30;

/// Runs `body`, a closure of a test function, in another process that runs that test alone.
pub(super) fn alone<F: FnOnce()>(body: F) {
    let name = any::type_name::<F>();
    let test = name
        .split_once("::")
        .expect("a path")
        .1
        .trim_end_matches("::{{closure}}");
    if env::var(VARIABLE).is_ok_and(|name| name == test) {
        // SAFETY: the call takes no pointer; nobody in this process handles SIGALRM.
        unsafe { libc::alarm(PATIENCE_S) };
        return body();
    }
    let program = env::current_exe().expect("the path of the test program");
    let output = Command::new(program)
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(VARIABLE, test)
        .output()
        .expect("the test program starts");
    let text = String::from_utf8_lossy(&output.stdout);
    // A name that no test has would be a success, too.
    let ran = output.status.success() && text.contains("1 passed");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        ran,
        "{test} in a child: {}\n{text}\n{errors}",
        output.status
    );
    if text.contains("skipped") {
        println!("{text}");
    }
}
