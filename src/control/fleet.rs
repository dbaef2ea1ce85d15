//! Connections to the runners of many VMs that stay open, side by side in one poll: requests go out
//! in the order in which they were given, and each gets its answer or, at its deadline, an error.
//!
//! A runner that does not answer costs its own requests their time and no others. What is asked is
//! not known here.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::ask::{Inquiry, Patience, Question, not_running};
use super::link::Link;
use crate::error::{Error, Kind, Result};
use crate::paths::Folders;
use crate::sys::{self, Interest};
use crate::wire::message::{Call, Request, UNANSWERED};
use crate::wire::stream::Head;

/// For a runner to prove itself.
const RUNNER_LIMIT: Duration = Duration::from_secs(3);
/// What may wait for one VM before more is refused to be taken, in requests and in bytes.
const QUEUE: usize = 256;
const QUEUE_BYTES: usize = 1 << 20;

/// A request as it travels.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) line: Vec<u8>,
    pub(crate) id: Option<Value>,
    pub(crate) deadline: Instant,
    /// Whether the deadline holds for all of a stream, and not for its beginning alone.
    pub(crate) bounds_stream: bool,
}

/// What has come of what was asked.
#[derive(Debug)]
pub(crate) enum News {
    /// A line of the runner's, an answer or a frame, without its newline.
    Said(Head, Vec<u8>),
    /// There will be no answer to the request with this id.
    Refused(Option<Value>, Error),
}

/// A request whose answer has not come yet.
#[derive(Debug)]
struct Asked {
    id: Option<Value>,
    deadline: Option<Instant>,
    bounds_stream: bool,
    /// Its end has been told: what comes for it still is dropped.
    told: bool,
}

#[derive(Debug)]
enum Standing<'a> {
    Closed,
    Opening(Box<Inquiry<'a>>, Patience),
    Open(Link),
}

#[derive(Debug)]
struct Member<'a> {
    id: String,
    standing: Standing<'a>,
    queue: VecDeque<Order>,
    in_flight: VecDeque<Asked>,
}

/// The connections, each by the number that [`Fleet::join`] gave.
#[derive(Debug)]
pub(crate) struct Fleet<'a> {
    folders: &'a Folders,
    members: Vec<Member<'a>>,
    news: VecDeque<(usize, News)>,
}

impl<'a> Fleet<'a> {
    pub(crate) fn new(folders: &'a Folders) -> Fleet<'a> {
        Fleet { folders, members: Vec::new(), news: VecDeque::new() }
    }

    /// The number of this VM; nothing is connected before something is asked.
    pub(crate) fn join(&mut self, id: &str) -> usize {
        if let Some(number) = self.members.iter().position(|member| member.id == id) {
            return number;
        }
        self.members.push(Member {
            id: id.to_owned(),
            standing: Standing::Closed,
            queue: VecDeque::new(),
            in_flight: VecDeque::new(),
        });
        self.members.len() - 1
    }

    /// Gives a request to be sent, after connecting where there is no connection.
    pub(crate) fn ask(&mut self, number: usize, order: Order) {
        let member = &mut self.members[number];
        member.queue.push_back(order);
        if matches!(member.standing, Standing::Closed) {
            member.begin(self.folders);
        }
        member.feed();
    }

    /// Says something within a stream; nothing where there is no connection.
    pub(crate) fn say(&mut self, number: usize, line: &[u8]) {
        if let Standing::Open(link) = &mut self.members[number].standing {
            link.say(line);
        }
    }

    /// Whether there is a connection, or one is being made.
    pub(crate) fn is_open(&self, number: usize) -> bool {
        !matches!(self.members[number].standing, Standing::Closed)
    }

    /// Whether one VM has so much waiting that no more should be asked.
    pub(crate) fn is_full(&self) -> bool {
        self.members.iter().any(Member::is_full)
    }

    /// Whether nothing is on its way any more, nor news waiting.
    pub(crate) fn is_idle(&self) -> bool {
        let idle = |member: &Member<'_>| member.queue.is_empty() && !member.awaits();
        self.news.is_empty() && self.members.iter().all(idle)
    }

    /// What has come, in its order.
    pub(crate) fn next_news(&mut self) -> Option<(usize, News)> {
        self.news.pop_front()
    }

    /// Sleeps until some runner has said something, one of `others` is ready, a deadline of a request
    /// or `deadline` passes; tells which of `others` are ready. With `hears` false runners are not
    /// listened to: their answers wait with them.
    ///
    /// # Errors
    /// `Kind::Failed` where the kernel refuses to wait.
    pub(crate) fn wait(
        &mut self,
        others: &[(BorrowedFd<'_>, Interest)],
        deadline: Option<Instant>,
        hears: bool,
    ) -> Result<Vec<bool>> {
        self.step();
        let wake = self.members.iter().filter_map(Member::wake).chain(deadline).min();
        let wake = if self.news.is_empty() { wake } else { Some(Instant::now()) };
        let mut numbers = Vec::new();
        let mut sources = others.to_vec();
        for (number, member) in self.members.iter().enumerate() {
            if let Some(source) = member.source(hears) {
                numbers.push(number);
                sources.push(source);
            }
        }
        let cannot = |error| Error::io("wait for the runners", &error);
        let mut ready = sys::poll(&sources, wake).map_err(cannot)?;
        let ours = ready.split_off(others.len());
        for (number, _) in numbers.into_iter().zip(ours).filter(|(_, ready)| *ready) {
            let news = self.members[number].turn();
            self.news.extend(news.into_iter().map(|news| (number, news)));
        }
        self.step();
        Ok(ready)
    }

    /// What is due without a byte having come.
    fn step(&mut self) {
        let now = Instant::now();
        for (number, member) in self.members.iter_mut().enumerate() {
            let news = member.step(self.folders, now);
            self.news.extend(news.into_iter().map(|news| (number, news)));
        }
    }
}

impl<'a> Member<'a> {
    fn is_full(&self) -> bool {
        let bytes = || self.queue.iter().map(|order| order.line.len()).sum::<usize>();
        self.queue.len() >= QUEUE || bytes() >= QUEUE_BYTES
    }

    /// Whether some answer is still to come of which the end has not been told.
    fn awaits(&self) -> bool {
        self.in_flight.iter().any(|asked| !asked.told)
    }

    fn begin(&mut self, folders: &'a Folders) {
        let request = Request::from(Call::Status);
        let question = Question { id: self.id.clone(), request, repeatable: true };
        let inquiry = Box::new(Inquiry::new(folders, question));
        self.standing = Standing::Opening(inquiry, Patience::of(RUNNER_LIMIT));
    }

    fn wake(&self) -> Option<Instant> {
        let connecting = match &self.standing {
            Standing::Opening(inquiry, patience) => inquiry.wake(*patience),
            _ => None,
        };
        let asked = self.in_flight.iter().filter(|asked| !asked.told);
        let deadlines = asked.filter_map(|asked| asked.deadline);
        deadlines.chain(self.queue.iter().map(|order| order.deadline)).chain(connecting).min()
    }

    fn source(&self, hears: bool) -> Option<(BorrowedFd<'_>, Interest)> {
        match &self.standing {
            Standing::Closed => None,
            Standing::Opening(inquiry, _) => {
                inquiry.source().map(|source| (source, Interest::Read))
            }
            Standing::Open(link) => link.source().filter(|_| hears),
        }
    }

    /// Sends what may be on its way at once.
    fn feed(&mut self) {
        let Standing::Open(link) = &mut self.standing else { return };
        while self.in_flight.len() < UNANSWERED && link.takes_more() {
            let Some(Order { line, id, deadline, bounds_stream }) = self.queue.pop_front() else {
                return;
            };
            link.say(&line);
            let deadline = Some(deadline);
            self.in_flight.push_back(Asked { id, deadline, bounds_stream, told: false });
        }
    }

    fn step(&mut self, folders: &'a Folders, now: Instant) -> Vec<News> {
        let mut news = Vec::new();
        if let Standing::Opening(inquiry, patience) = &mut self.standing {
            inquiry.step(now, *patience);
            if inquiry.is_over() {
                news.extend(self.conclude());
            }
        }
        let late = || Error::timeout("it was not answered in time").hint("--timeout gives it more");
        for asked in &mut self.in_flight {
            if !asked.told && asked.deadline.is_some_and(|at| at <= now) {
                asked.told = true;
                news.push(News::Refused(asked.id.clone(), late()));
            }
        }
        self.queue.retain(|order| {
            let in_time = now < order.deadline;
            if !in_time {
                news.push(News::Refused(order.id.clone(), late()));
            }
            in_time
        });
        // Nobody wants to hear any more of what is on its way: those behind it must not wait for it.
        if !self.in_flight.is_empty() && !self.awaits() {
            self.in_flight.clear();
            self.standing = Standing::Closed;
        }
        if !self.queue.is_empty() && matches!(self.standing, Standing::Closed) {
            self.begin(folders);
        }
        self.feed();
        news
    }

    /// The attempt to connect is over.
    fn conclude(&mut self) -> Vec<News> {
        let Standing::Opening(inquiry, _) = std::mem::replace(&mut self.standing, Standing::Closed)
        else {
            return Vec::new();
        };
        match inquiry.into_talk().and_then(Link::over) {
            Ok(link) => {
                self.standing = Standing::Open(link);
                Vec::new()
            }
            Err(error) => {
                let orders = self.queue.drain(..);
                orders.map(|order| News::Refused(order.id, error.clone())).collect()
            }
        }
    }

    /// Takes what has come.
    fn turn(&mut self) -> Vec<News> {
        let mut news = Vec::new();
        match &mut self.standing {
            Standing::Closed => return news,
            Standing::Opening(inquiry, _) => {
                inquiry.hear();
                return news;
            }
            Standing::Open(link) => link.turn(),
        }
        let broken = loop {
            let Standing::Open(link) = &mut self.standing else { break None };
            match link.next_line() {
                Ok(Some(line)) => match Head::parse(&line) {
                    Ok(head) => news.extend(self.sort(head, line)),
                    Err(error) => break Some(error),
                },
                Ok(None) if link.is_open() => break None,
                Ok(None) => break Some(ended().of_kind(Kind::NotRunning)),
                Err(error) => break Some(error),
            }
        };
        if let Some(error) = broken {
            self.standing = Standing::Closed;
            let lost = self.in_flight.drain(..).filter(|asked| !asked.told);
            news.extend(lost.map(|asked| News::Refused(asked.id, error.clone())));
        }
        news
    }

    /// Whose line it is; nothing where nobody waits for it any more.
    fn sort(&mut self, head: Head, line: Vec<u8>) -> Option<News> {
        let place = self.in_flight.iter().position(|asked| asked.id == head.id)?;
        if head.is_answer() {
            let told = self.in_flight.remove(place).is_some_and(|asked| asked.told);
            return (!told).then_some(News::Said(head, line));
        }
        let asked = &mut self.in_flight[place];
        if head.opens() && !asked.bounds_stream {
            asked.deadline = None;
        }
        (!asked.told).then_some(News::Said(head, line))
    }
}

/// The end of a connection under a request.
fn ended() -> Error {
    not_running().worded("its runner ended before it answered".into())
}
