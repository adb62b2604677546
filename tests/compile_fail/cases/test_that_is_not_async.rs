//! A test without a runtime has an attribute already.

#[corering::test]
fn works() {}

fn main() {}
