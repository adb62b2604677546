//! The names of files: opening, making, renaming, removing.

use std::io;
use std::path::Path;

use corering::fs::{self, File, OpenOptions};

use super::stage::{Script, Stage, script, told};

pub(crate) fn scripts() -> Vec<Script> {
    vec![
        script("files_are_opened", files_are_opened),
        script("files_are_made", files_are_made),
        script("paths_that_end_in_a_slash", paths_that_end_in_a_slash),
        script("paths_with_dots", paths_with_dots),
        script("paths_that_are_long", paths_that_are_long),
        script("paths_through_a_file", paths_through_a_file),
        script("files_are_renamed", files_are_renamed),
        script("directories_are_renamed", directories_are_renamed),
        script("names_that_cannot_be_moved", names_that_cannot_be_moved),
        script("files_are_removed", files_are_removed),
        script(
            "directories_are_made_and_removed",
            directories_are_made_and_removed,
        ),
        script("an_open_file_loses_its_name", an_open_file_loses_its_name),
        script("an_open_file_is_replaced", an_open_file_is_replaced),
        script("a_removed_directory_is_open", a_removed_directory_is_open),
        script("unusual_flags", unusual_flags),
    ]
}

async fn put(path: impl AsRef<Path>, text: &'static str) {
    fs::write(path, text).await.0.unwrap();
}

async fn content(path: impl AsRef<Path>) -> String {
    let found = fs::read(path)
        .await
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    told(&found)
}

/// A file, a directory with a file, and an empty directory.
async fn furnished(stage: &Stage) {
    put(stage.path("file"), "file").await;
    fs::create_dir(stage.path("dir")).await.unwrap();
    put(stage.path("dir/inner"), "inner").await;
    fs::create_dir(stage.path("empty")).await.unwrap();
}

/// Everything that there may be, as a program sees it.
async fn look(stage: &Stage, label: &str) {
    let names = [
        "file",
        "dir",
        "dir/inner",
        "dir/empty",
        "dir/moved",
        "empty",
        "empty/inner",
        "moved",
        "moved/inner",
        "new",
    ];
    let mut seen = String::new();
    for name in names {
        match fs::metadata(stage.path(name)).await {
            Ok(found) if found.is_dir() => seen += &format!("{name}/ "),
            Ok(_) => seen += &format!("{name}={} ", content(stage.path(name)).await),
            Err(_) => {}
        }
    }
    stage.saw(label, seen);
}

fn writing() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    options
}

async fn opened(stage: &Stage, options: &OpenOptions, name: &str) -> String {
    told(&options.open(stage.path(name)).await.map(drop))
}

async fn files_are_opened(stage: Stage) {
    furnished(&stage).await;
    for name in [
        "file",
        "missing",
        "dir",
        "dir/inner",
        "missing/inner",
        "dir/missing",
    ] {
        stage.saw(
            format!("read {name}"),
            told(&File::open(stage.path(name)).await.map(drop)),
        );
        stage.saw(
            format!("write {name}"),
            opened(&stage, &writing(), name).await,
        );
        let truncating = writing().truncate(true).clone();
        stage.saw(
            format!("truncate {name}"),
            opened(&stage, &truncating, name).await,
        );
    }
    look(&stage, "then").await;
    stage.told("no name", &File::open("").await.map(drop));
}

async fn files_are_made(stage: Stage) {
    furnished(&stage).await;
    let creating = writing().create(true).clone();
    let new = writing().create_new(true).clone();
    for name in ["file", "dir", "missing/inner", "new", "new"] {
        stage.saw(format!("new {name}"), opened(&stage, &new, name).await);
        stage.saw(
            format!("create {name}"),
            opened(&stage, &creating, name).await,
        );
    }
    stage.told(
        "write to nowhere",
        &fs::write(stage.path("missing/inner"), "x").await.0,
    );
    look(&stage, "then").await;
}

async fn paths_that_end_in_a_slash(stage: Stage) {
    furnished(&stage).await;
    let creating = writing().create(true).clone();
    let new = writing().create_new(true).clone();
    for name in ["file/", "dir/", "missing/", "dir//", "file//"] {
        stage.saw(
            format!("read {name}"),
            told(&File::open(stage.path(name)).await.map(drop)),
        );
        stage.saw(
            format!("write {name}"),
            opened(&stage, &writing(), name).await,
        );
        stage.saw(
            format!("create {name}"),
            opened(&stage, &creating, name).await,
        );
        stage.saw(format!("new {name}"), opened(&stage, &new, name).await);
        stage.told(
            format!("stat {name}"),
            &fs::metadata(stage.path(name)).await.map(drop),
        );
        stage.told(
            format!("unlink {name}"),
            &fs::remove_file(stage.path(name)).await,
        );
    }
    let rename = async |from: &str, to: &str| {
        let renamed = fs::rename(stage.path(from), stage.path(to)).await;
        stage.told(format!("rename {from} {to}"), &renamed);
    };
    rename("file", "new/").await;
    rename("file/", "new").await;
    rename("empty/", "moved/").await;
    rename("moved", "empty/").await;
    rename("file", "empty/").await;
    stage.told("mkdir new/", &fs::create_dir(stage.path("new/")).await);
    stage.told("mkdir file/", &fs::create_dir(stage.path("file/")).await);
    stage.told("rmdir file/", &fs::remove_dir(stage.path("file/")).await);
    stage.told("rmdir new/", &fs::remove_dir(stage.path("new/")).await);
    look(&stage, "then").await;
}

async fn paths_with_dots(stage: Stage) {
    furnished(&stage).await;
    for name in [
        ".",
        "..",
        "./file",
        "dir/..",
        "dir/../file",
        "dir/.",
        "missing/..",
        "missing/.",
        "file/.",
        "file/..",
        "dir/inner/../inner",
        "dir/./inner",
        "dir//inner",
        "dir/...",
    ] {
        stage.told(
            format!("stat {name}"),
            &fs::metadata(stage.path(name)).await.map(drop),
        );
    }
    let creating = writing().create(true).clone();
    for name in [".", "dir/.", "dir/..", "missing/.", "missing/.."] {
        stage.saw(
            format!("create {name}"),
            opened(&stage, &creating, name).await,
        );
        stage.told(
            format!("mkdir {name}"),
            &fs::create_dir(stage.path(name)).await,
        );
        stage.told(
            format!("rmdir {name}"),
            &fs::remove_dir(stage.path(name)).await,
        );
        stage.told(
            format!("unlink {name}"),
            &fs::remove_file(stage.path(name)).await,
        );
        let to = fs::rename(stage.path(name), stage.path("moved")).await;
        stage.told(format!("rename {name}"), &to);
        let from = fs::rename(stage.path("empty"), stage.path(name)).await;
        stage.told(format!("rename to {name}"), &from);
    }
    look(&stage, "then").await;
}

async fn paths_that_are_long(stage: Stage) {
    furnished(&stage).await;
    for len in [255, 256] {
        let name = "n".repeat(len);
        let path = stage.path(&name);
        stage.told(format!("stat {len}"), &fs::metadata(&path).await.map(drop));
        stage.told(format!("make {len}"), &File::create(&path).await.map(drop));
        stage.told(format!("unlink {len}"), &fs::remove_file(&path).await);
        stage.told(format!("mkdir {len}"), &fs::create_dir(&path).await);
        stage.told(
            format!("rename {len}"),
            &fs::rename(&path, stage.path("moved")).await,
        );
        let through = stage.path(format!("missing/{name}"));
        stage.told(
            format!("below nothing {len}"),
            &fs::metadata(through).await.map(drop),
        );
        let through = stage.path(format!("file/{name}"));
        stage.told(
            format!("below a file {len}"),
            &fs::metadata(through).await.map(drop),
        );
    }
    // The root of the real one is longer, but neither is near the limit from the other side.
    for len in [3000, 4096, 5000] {
        let path = stage.path(format!("{}file", "./".repeat((len - 4) / 2)));
        stage.told(
            format!("path of {len}"),
            &fs::metadata(path).await.map(drop),
        );
    }
}

async fn paths_through_a_file(stage: Stage) {
    furnished(&stage).await;
    let path = stage.path("file/x");
    stage.told("open", &File::open(&path).await.map(drop));
    stage.told("make", &File::create(&path).await.map(drop));
    stage.told("stat", &fs::metadata(&path).await.map(drop));
    stage.told("unlink", &fs::remove_file(&path).await);
    stage.told("mkdir", &fs::create_dir(&path).await);
    stage.told("rmdir", &fs::remove_dir(&path).await);
    stage.told("rename from", &fs::rename(&path, stage.path("new")).await);
    stage.told("rename to", &fs::rename(stage.path("empty"), &path).await);
    look(&stage, "then").await;
}

async fn renamed(stage: &Stage, from: &str, to: &str) {
    let result = fs::rename(stage.path(from), stage.path(to)).await;
    stage.told(format!("{from} to {to}"), &result);
    look(stage, &format!("after {from} to {to}")).await;
}

async fn files_are_renamed(stage: Stage) {
    furnished(&stage).await;
    renamed(&stage, "file", "file").await;
    renamed(&stage, "file", "new").await;
    renamed(&stage, "file", "moved").await;
    renamed(&stage, "new", "dir/inner").await;
    renamed(&stage, "dir/inner", "empty").await;
    renamed(&stage, "dir/inner", "dir").await;
    renamed(&stage, "dir/inner", "dir/moved").await;
    renamed(&stage, "dir/moved", "missing/moved").await;
    renamed(&stage, "dir/moved", "empty/inner").await;
}

async fn directories_are_renamed(stage: Stage) {
    furnished(&stage).await;
    renamed(&stage, "dir", "dir").await;
    renamed(&stage, "dir", "file").await;
    renamed(&stage, "empty", "dir").await;
    renamed(&stage, "dir", "empty").await;
    renamed(&stage, "empty", "empty/inner").await;
    renamed(&stage, "empty", "empty/moved").await;
    renamed(&stage, "empty", "moved").await;
    renamed(&stage, "file", "moved").await;
}

async fn names_that_cannot_be_moved(stage: Stage) {
    furnished(&stage).await;
    fs::create_dir(stage.path("dir/empty")).await.unwrap();
    renamed(&stage, "dir", "dir/empty").await;
    renamed(&stage, "dir", "dir/empty/new").await;
    renamed(&stage, "dir/empty", "dir").await;
    renamed(&stage, "dir", "missing/new").await;
    renamed(&stage, "missing", "new").await;
    renamed(&stage, "missing", "missing").await;
    renamed(&stage, "missing", "dir/empty").await;
    renamed(&stage, "missing/file", "new").await;
    renamed(&stage, "dir/empty", "empty").await;
}

async fn files_are_removed(stage: Stage) {
    furnished(&stage).await;
    for name in ["file", "file", "dir", "dir/inner", "missing/file", "empty"] {
        stage.told(
            format!("unlink {name}"),
            &fs::remove_file(stage.path(name)).await,
        );
    }
    look(&stage, "then").await;
}

async fn directories_are_made_and_removed(stage: Stage) {
    furnished(&stage).await;
    for name in ["file", "dir", "new", "new", "missing/new", "dir/empty"] {
        stage.told(
            format!("mkdir {name}"),
            &fs::create_dir(stage.path(name)).await,
        );
    }
    look(&stage, "then").await;
    for name in [
        "file",
        "dir",
        "new",
        "new",
        "missing/new",
        "dir/empty",
        "dir",
    ] {
        stage.told(
            format!("rmdir {name}"),
            &fs::remove_dir(stage.path(name)).await,
        );
    }
    fs::remove_file(stage.path("dir/inner")).await.unwrap();
    stage.told(
        "rmdir dir at last",
        &fs::remove_dir(stage.path("dir")).await,
    );
    look(&stage, "at last").await;
}

async fn text(file: &File) -> String {
    let (n, buf) = file.read_at(Vec::with_capacity(100), 0).await;
    told(&n.map(|_: usize| String::from_utf8_lossy(&buf).into_owned()))
}

async fn an_open_file_loses_its_name(stage: Stage) {
    let path = stage.path("file");
    put(&path, "old").await;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .await
        .unwrap();
    stage.told("unlink", &fs::remove_file(&path).await);
    stage.told("open", &File::open(&path).await.map(drop));
    stage.saw("read", !text(&file).await.is_empty());
    stage.told("write", &file.write_at("O", 0).await.0);
    stage.told("length", &file.metadata().await.map(|found| found.len()));
    put(&path, "new").await;
    stage.saw("another of that name", content(&path).await);
    stage.told(
        "length still",
        &file.metadata().await.map(|found| found.len()),
    );
    stage.told("sync", &file.sync_all().await);
    stage.told("close", &file.close().await);
    stage.saw("the other", content(&path).await);
}

async fn an_open_file_is_replaced(stage: Stage) {
    let (path, other) = (stage.path("file"), stage.path("other"));
    put(&path, "old").await;
    put(&other, "other").await;
    let old = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .await
        .unwrap();
    let new = File::open(&other).await.unwrap();
    stage.told("rename", &fs::rename(&other, &path).await);
    stage.told(
        "length of the old",
        &old.metadata().await.map(|found| found.len()),
    );
    stage.told(
        "length of the new",
        &new.metadata().await.map(|found| found.len()),
    );
    stage.told("write to the old", &old.write_at("x", 0).await.0);
    stage.saw("under the name", content(&path).await);
}

async fn a_removed_directory_is_open(stage: Stage) {
    let path = stage.path("dir");
    fs::create_dir(&path).await.unwrap();
    let dir = File::open(&path).await.unwrap();
    stage.told("rmdir", &fs::remove_dir(&path).await);
    stage.told("sync", &dir.sync_all().await);
    stage.told("stat", &dir.metadata().await.map(|found| found.is_dir()));
    stage.told("make in it", &File::create(path.join("x")).await.map(drop));
    stage.told("mkdir again", &fs::create_dir(&path).await);
    stage.told(
        "make in the other",
        &File::create(path.join("x")).await.map(drop),
    );
}

async fn unusual_flags(stage: Stage) {
    furnished(&stage).await;
    let flagged =
        async |label: &str, flags: i32, options: OpenOptions, name: &str| -> io::Result<()> {
            let mut options = options;
            let opened = options
                .custom_flags(flags)
                .open(stage.path(name))
                .await
                .map(drop);
            stage.told(label, &opened);
            opened
        };
    let reading = || OpenOptions::new().read(true).clone();
    let creating = || writing().create(true).clone();
    let _ = flagged("DIRECTORY of a file", libc::O_DIRECTORY, reading(), "file").await;
    let _ = flagged("DIRECTORY of one", libc::O_DIRECTORY, reading(), "dir").await;
    let _ = flagged("DIRECTORY of none", libc::O_DIRECTORY, reading(), "new").await;
    let _ = flagged("CREAT and DIRECTORY", libc::O_DIRECTORY, creating(), "new").await;
    let _ = flagged("EXCL alone", libc::O_EXCL, reading(), "file").await;
    let _ = flagged("SYNC", libc::O_SYNC, creating(), "file").await;
    let _ = flagged(
        "TRUNC of one that is read",
        libc::O_TRUNC,
        reading(),
        "file",
    )
    .await;
    let _ = flagged("CREAT of one that is read", libc::O_CREAT, reading(), "new").await;
    look(&stage, "then").await;
    let _ = flagged("TMPFILE", libc::O_TMPFILE, writing(), "dir").await;
    let _ = flagged("TMPFILE that is read", libc::O_TMPFILE, reading(), "dir").await;
    look(&stage, "at last").await;
}
