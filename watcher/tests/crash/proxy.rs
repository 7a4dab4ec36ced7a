//! Stands between the processes and the chain, and fails as networks do.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Up,
    /// Nothing gets through.
    Down,
    /// Transactions don't get to the chain.
    LosesTransactions,
    /// Transactions get to the chain, and its answers don't come back.
    LosesAnswers,
}

pub(crate) struct Proxy {
    pub(crate) url: String,
    link: Arc<Mutex<Link>>,
}

const SEND: &[u8] = b"eth_sendRawTransaction";
const CHUNK_BYTES: usize = 1 << 16;

impl Proxy {
    /// A proxy of a chain at `http://host:port`.
    pub(crate) fn start(chain: &str) -> Self {
        let target = chain.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let link = Arc::new(Mutex::new(Link::Up));
        let shared = Arc::clone(&link);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if get(&shared) == Link::Down {
                    continue;
                }
                let Ok(server) = TcpStream::connect(&target) else { continue };
                Connection::start(client, server, Arc::clone(&shared));
            }
        });
        Self { url, link }
    }

    pub(crate) fn set(&self, link: Link) {
        *self.link.lock().unwrap_or_else(PoisonError::into_inner) = link;
    }
}

fn get(link: &Mutex<Link>) -> Link {
    *link.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One connection: a thread in each direction. Both end with it.
struct Connection {
    link: Arc<Mutex<Link>>,
    /// Set by a transaction whose answer is to be lost.
    is_muted: AtomicBool,
}

impl Connection {
    fn start(client: TcpStream, server: TcpStream, link: Arc<Mutex<Link>>) {
        let this = Arc::new(Self { link, is_muted: AtomicBool::new(false) });
        let (Ok(client_too), Ok(server_too)) = (client.try_clone(), server.try_clone()) else {
            return;
        };
        let back = Arc::clone(&this);
        std::thread::spawn(move || pump(client, server, |seen| this.passes_request(seen)));
        std::thread::spawn(move || pump(server_too, client_too, |_| back.passes_answer()));
    }

    fn passes_request(&self, seen: &[u8]) -> bool {
        let is_send = seen.windows(SEND.len()).any(|window| window == SEND);
        match get(&self.link) {
            Link::Up => true,
            Link::Down => false,
            Link::LosesTransactions => !is_send,
            Link::LosesAnswers => {
                self.is_muted.fetch_or(is_send, Ordering::Relaxed);
                true
            }
        }
    }

    fn passes_answer(&self) -> bool {
        get(&self.link) != Link::Down && !self.is_muted.load(Ordering::Relaxed)
    }
}

/// Copies until the end, or until something doesn't pass. `passes` sees each piece after the end of the one before, so that
/// a word that is cut in two is seen too.
fn pump(mut from: TcpStream, mut to: TcpStream, passes: impl Fn(&[u8]) -> bool) {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut seen: Vec<u8> = Vec::new();
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        seen.drain(..seen.len().saturating_sub(SEND.len() - 1));
        seen.extend(&buffer[..length]);
        if !passes(&seen) || to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
