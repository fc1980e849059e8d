//! A connection that is accepted is a pass.

use std::net::SocketAddrV4;
use std::time::Duration;

use evenkeel_plan::health::verdict::Answer;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::{span, words};

/// Connect, and hang up.
pub(crate) async fn ask(address: SocketAddrV4, within: Duration) -> Answer {
    match timeout(within, connect(address)).await {
        Ok(Ok(_)) => Answer::pass("connection accepted"),
        Ok(Err(why)) => Answer::fail(&why),
        Err(_) => Answer::fail(&format!("no connection within {}", span(within))),
    }
}

/// A connection that ends with a reset when it is dropped.
pub(crate) async fn connect(address: SocketAddrV4) -> Result<TcpStream, String> {
    let stream = TcpStream::connect(address).await.map_err(|error| words(&error))?;
    // Where this is refused the connection only takes longer to vanish.
    stream.set_zero_linger().ok();
    Ok(stream)
}
