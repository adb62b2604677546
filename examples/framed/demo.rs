//! A thousand calls at once, checked.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use corering::net::TcpListener;
use corering::spawn;
use corering::time::{Instant, sleep};

use crate::client::Client;
use crate::serve;

const CALLS: usize = 1000;
/// Every so many calls ask for more time than they have.
const SLOW: usize = 50;
const DEADLINE: Duration = Duration::from_secs(5);

pub(crate) async fn run() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    spawn(serve(listener));
    let client = Rc::new(Client::connect(address).await?);

    let begin = Instant::now();
    let calls: Vec<_> = (0..CALLS)
        .map(|number| spawn(checked(Rc::clone(&client), number)))
        .collect();
    for call in calls {
        call.await.expect("the call is as expected")?;
    }
    println!("{CALLS} calls on one connection in {:?}", begin.elapsed());

    // Their replies come when nobody waits any more.
    sleep(Duration::from_millis(500)).await;
    let (slow, late) = (CALLS / SLOW, client.late());
    println!("{slow} of them were ended by their deadline, {late} replies came too late");
    let reply = client.call("upper still in step".into(), DEADLINE).await?;
    assert_eq!(reply, "STILL IN STEP");
    println!("every reply was the one to its request");
    Ok(())
}

async fn checked(client: Rc<Client>, number: usize) -> io::Result<()> {
    if number.is_multiple_of(SLOW) {
        let late = client
            .call("sleep 400".into(), Duration::from_millis(200))
            .await;
        assert_eq!(
            late.expect_err("it is late").kind(),
            io::ErrorKind::TimedOut
        );
        return Ok(());
    }
    let (request, expected) = if number.is_multiple_of(3) {
        let time = number % 20;
        (format!("sleep {time}"), format!("slept {time} ms"))
    } else {
        (format!("upper call {number}"), format!("CALL {number}"))
    };
    assert_eq!(client.call(request, DEADLINE).await?, expected);
    Ok(())
}
