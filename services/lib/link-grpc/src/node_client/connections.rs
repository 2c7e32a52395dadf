//! The connections of a router to nodes: members, and nodes met before the member list showed them.
//! Invariant: at most [`UNSEEN`] connections are to nodes that have not joined, and at most [`GONE`] departed nodes are
//! remembered.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use pushgrid_types::NodeId;

use super::connection::NodeConnection;
use crate::membership::MemberList;

/// Bound of nodes waited for though absent from the member list. No grid gains more at a moment: the others are
/// claims on nodes that died before this router started.
const UNSEEN: usize = 256;

/// Bound of remembered departed nodes. Claims on their sockets can outlive them by days.
const GONE: usize = 1024;

/// Connections of a router: to the members, and to nodes met before the member list showed them.
#[derive(Default)]
pub(super) struct NodeConnections {
    by_id: HashMap<NodeId, Arc<NodeConnection>>,
    /// Departed nodes, the latest at the back.
    gone: VecDeque<NodeId>,
    ended: bool,
}

impl NodeConnections {
    pub(super) fn get(&self, id: NodeId) -> Option<&Arc<NodeConnection>> {
        self.by_id.get(&id)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<NodeConnection>> {
        self.by_id.values()
    }

    /// Adds connections for members without one.
    pub(super) fn add_members(
        &mut self,
        member_list: &MemberList,
        make: impl Fn(NodeId) -> Arc<NodeConnection>,
    ) {
        for node in member_list.connections() {
            self.by_id.entry(node.id).or_insert_with(|| make(node.id));
        }
    }

    /// Returns or makes the connection to a node, perhaps not in the member list: the claim of a user agent names the
    /// node, or the node is `alive` for certain. `None` when the node has gone, or too many are waited for.
    pub(super) fn meet(
        &mut self,
        id: NodeId,
        alive: bool,
        make: impl Fn(NodeId) -> Arc<NodeConnection>,
    ) -> Option<Arc<NodeConnection>> {
        if let Some(connection) = self.by_id.get(&id)
            && !(alive && connection.has_ended())
        {
            return Some(Arc::clone(connection));
        }
        let unseen = || self.by_id.values().filter(|connection| !connection.has_joined()).count();
        if self.ended || (!alive && self.gone.contains(&id)) || unseen() >= UNSEEN {
            return None;
        }
        self.gone.retain(|gone| *gone != id);
        let connection = make(id);
        self.by_id.insert(id, Arc::clone(&connection));
        Some(connection)
    }

    /// Removes a connection that has ended, unless replaced meanwhile.
    pub(super) fn remove(&mut self, connection: &Arc<NodeConnection>) {
        let id = connection.id();
        if !self.by_id.get(&id).is_some_and(|present| Arc::ptr_eq(present, connection)) {
            return;
        }
        self.by_id.remove(&id);
        self.gone.push_back(id);
        if self.gone.len() > GONE {
            self.gone.pop_front();
        }
    }

    /// Ends the set: takes all connections out, and adds none from now on.
    pub(super) fn end(&mut self) -> Vec<Arc<NodeConnection>> {
        self.ended = true;
        std::mem::take(&mut self.by_id).into_values().collect()
    }
}
