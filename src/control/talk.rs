//! One conversation with one runner over a blocking socket: the checks of who answers, the
//! handshake both ways, one request, one reply.
//!
//! A talk reads only when told that there is something to read, so that one thread can hold many.
//! Only version 2 is spoken: a server without proof is sent nothing but a challenge's answer.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::Value;

use crate::error::{Error, Kind, Result};
use crate::lock::{self, Holder};
use crate::paths::{Folders, RuntimeFolder};
use crate::private::check_private;
use crate::sys;
use crate::wire::auth::Answer;
use crate::wire::line::Lines;
use crate::wire::reply::{REPLY_LIMIT, parse_reply};
use crate::wire::secret::Key;

/// Bytes read at a time: most answers are short, and memory that is not touched need not be cleared.
const PIECE: usize = 8 << 10;
/// For a runner to take a request's bytes.
const WRITE_LIMIT: Duration = Duration::from_secs(3);

#[derive(Debug)]
enum Stage {
    Challenge,
    Proof(Answer),
    Reply,
}

/// What a talk has come to.
#[derive(Debug)]
pub(super) enum Progress {
    /// More bytes are needed.
    More,
    /// The runner's answer.
    Done(Result<Value>),
    /// It closed before it answered; `asked` tells whether the request had been sent.
    Closed { asked: bool },
}

#[derive(Debug)]
pub(super) struct Talk {
    id: String,
    stream: UnixStream,
    key: Key,
    request: Vec<u8>,
    lines: Lines,
    stage: Stage,
}

impl Talk {
    /// Connects to the runner of the VM `id` to send it one request line.
    ///
    /// # Errors
    /// Before a byte is read the server must be ours and the holder of the VM's lock: else
    /// [`Kind::Permission`]. Anything else is [`Kind::Failed`], and during a start means "not yet".
    pub(super) fn open(folders: &Folders, id: &str, request: Vec<u8>) -> Result<Talk> {
        let runtime = folders
            .live_runtime(id)
            .ok_or_else(|| Error::failed("its runner has not made a socket yet"))?;
        check_private(runtime.path())?;
        let key = Key::read(&runtime.secret())?;
        let stream = connect(&runtime)?;
        let cannot = |error| Error::io("learn who serves its socket", &error);
        let (pid, uid) = sys::peer(&stream).map_err(cannot)?;
        if uid != sys::effective_uid() {
            return Err(stranger(format!("it belongs to uid {uid}")));
        }
        if lock::holder(&folders.vm(id).lock())? != Holder::Process(pid) {
            return Err(stranger(format!("process {pid} is not its runner")));
        }
        stream.set_write_timeout(Some(WRITE_LIMIT)).map_err(cannot)?;
        let id = id.to_owned();
        Ok(Talk {
            id,
            stream,
            key,
            request,
            lines: Lines::new(REPLY_LIMIT),
            stage: Stage::Challenge,
        })
    }

    pub(super) fn source(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Whether both sides have proved themselves.
    pub(super) fn is_authenticated(&self) -> bool {
        matches!(self.stage, Stage::Reply)
    }

    /// Reads what is there, once, and goes as far as it leads. To be called when the source is
    /// readable.
    ///
    /// # Errors
    /// [`Kind::Permission`] for a server that cannot prove itself.
    pub(super) fn advance(&mut self) -> Result<Progress> {
        let mut buffer = [0; PIECE];
        let count = match self.stream.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(Progress::More),
            Err(_) => 0,
        };
        self.lines.push(&buffer[..count]);
        let too_long = |_| Error::failed("the runner's answer is longer than the protocol allows");
        while let Some(line) = self.lines.next_line().map_err(too_long)? {
            match &self.stage {
                Stage::Challenge => {
                    let (answer, reply) = Answer::to_challenge(&self.key, &self.id, &line)?;
                    self.stage = Stage::Proof(answer);
                    if !self.send(format!("{reply}\n").as_bytes()) {
                        return Ok(Progress::Closed { asked: false });
                    }
                }
                Stage::Proof(answer) => {
                    answer.verify(&self.key, &line)?;
                    self.stage = Stage::Reply;
                    let request = std::mem::take(&mut self.request);
                    if !self.send(&request) {
                        // Half a line is no request.
                        return Ok(Progress::Closed { asked: false });
                    }
                }
                Stage::Reply => return Ok(Progress::Done(parse_reply(&line))),
            }
        }
        Ok(if count == 0 {
            Progress::Closed { asked: self.is_authenticated() }
        } else {
            Progress::More
        })
    }

    /// What is left of it once it has been answered: the socket, and what was read of it already.
    pub(super) fn into_parts(self) -> (UnixStream, Lines) {
        (self.stream, self.lines)
    }

    /// False where nothing can come of this talk any more. A runner that has closed it may have said
    /// its last words before: reading tells the end. Any other failure ends it at once, for nobody
    /// would answer what was not sent.
    fn send(&mut self, bytes: &[u8]) -> bool {
        match self.stream.write_all(bytes) {
            Ok(()) => true,
            Err(error) => {
                log::debug!("cannot write to the runner: {error}");
                matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
            }
        }
    }
}

fn connect(runtime: &RuntimeFolder) -> Result<UnixStream> {
    let path = runtime.socket();
    let cannot = |error| Error::io(format_args!("connect to {}", path.display()), &error);
    runtime.with_socket_address(sys::connect).map_err(cannot)
}

fn stranger(why: String) -> Error {
    Error::new(Kind::Permission, format!("the server on its socket is not to be trusted: {why}"))
}
