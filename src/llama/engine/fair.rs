//! The waiting line: one lane a tenant, the lane that was served least goes first.

use std::collections::{HashMap, VecDeque};

use super::Answer;

#[derive(Default)]
struct Lane {
    interactive: VecDeque<Answer>,
    background: VecDeque<Answer>,
    /// Tokens computed for this tenant, on the line's own clock.
    served: u64,
    /// Answers being computed now.
    running: usize,
}

impl Lane {
    fn is_idle(&self) -> bool {
        self.interactive.is_empty() && self.background.is_empty() && self.running == 0
    }
}

/// Start-time fair queueing over tokens (Goyal, Vin, Cheng 1996): a tenant that comes back after a pause starts where the
/// others are, so nobody saves up service and nobody is made to pay for the past.
#[derive(Default)]
pub struct Line {
    lanes: HashMap<[u8; 16], Lane>,
    /// Service of the lane that was picked last: where newcomers start.
    clock: u64,
}

impl Line {
    pub fn len(&self) -> usize {
        self.lanes.values().map(|l| l.interactive.len() + l.background.len()).sum()
    }
    fn lane(&mut self, tenant: [u8; 16]) -> &mut Lane {
        let clock = self.clock;
        let lane = self.lanes.entry(tenant).or_default();
        if lane.is_idle() {
            lane.served = lane.served.max(clock);
        }
        lane
    }
    pub fn push(&mut self, answer: Answer) {
        let lane = self.lane(answer.ticket.tenant);
        let queue = if answer.ticket.background { &mut lane.background } else { &mut lane.interactive };
        queue.push_back(answer);
    }
    /// Puts back an answer that had to give up its cells; it goes on first in its lane.
    pub fn put_back(&mut self, answer: Answer) {
        let lane = self.lane(answer.ticket.tenant);
        lane.running = lane.running.saturating_sub(1);
        let queue = if answer.ticket.background { &mut lane.background } else { &mut lane.interactive };
        queue.push_front(answer);
    }
    /// Takes the first answer that `fits`: lanes by least service, interactive before background, in order of arrival.
    /// At most `look` answers a lane are tried.
    pub fn take(&mut self, look: usize, mut fits: impl FnMut(&Answer) -> bool) -> Option<Answer> {
        let mut order: Vec<([u8; 16], u64)> = self.lanes.iter().filter(|(_, l)| !(l.interactive.is_empty() && l.background.is_empty())).map(|(t, l)| (*t, l.served)).collect();
        order.sort_by_key(|(tenant, served)| (*served, *tenant));
        for (tenant, served) in order {
            let lane = self.lanes.get_mut(&tenant)?;
            for queue in [&mut lane.interactive, &mut lane.background] {
                if let Some(at) = queue.iter().take(look).position(&mut fits) {
                    let answer = queue.remove(at);
                    lane.running += 1;
                    self.clock = self.clock.max(served);
                    return answer;
                }
            }
        }
        None
    }
    /// Counts tokens computed for a tenant.
    pub fn charge(&mut self, tenant: [u8; 16], tokens: u64) {
        if let Some(lane) = self.lanes.get_mut(&tenant) {
            lane.served += tokens;
        }
    }
    /// An answer that was taken is done.
    pub fn done(&mut self, tenant: [u8; 16]) {
        if let Some(lane) = self.lanes.get_mut(&tenant) {
            lane.running = lane.running.saturating_sub(1);
            if lane.is_idle() && lane.served <= self.clock {
                self.lanes.remove(&tenant);
            }
        }
    }
    /// Takes out every waiting answer for which `gone` holds.
    pub fn remove(&mut self, mut gone: impl FnMut(&Answer) -> bool) -> Vec<Answer> {
        let mut out = Vec::new();
        for lane in self.lanes.values_mut() {
            for queue in [&mut lane.interactive, &mut lane.background] {
                if queue.iter().any(&mut gone) {
                    let (leave, stay): (VecDeque<_>, VecDeque<_>) = queue.drain(..).partition(&mut gone);
                    *queue = stay;
                    out.extend(leave);
                }
            }
        }
        let clock = self.clock;
        self.lanes.retain(|_, l| !l.is_idle() || l.served > clock);
        out
    }
}
