//! A worker thread of the kernel may still copy from the string.

use corering::fs::File;

async fn write(file: &File) {
    let text = String::from("hello, disk");
    let _ = file.write_at(text.as_str(), 0).await;
}

fn main() {}
