//! An ordered map that can be copied at no cost: the copies share what they have in common.
//!
//! A treap (Seidel, Aragon: "Randomized search trees", 1996): ordered by key, and by a priority as a heap. Priorities
//! are hashes of the keys, so that the same keys always make the same tree, whatever the order in which they came. A
//! node that only one tree holds is changed in place, one that is shared is copied; so a change after a copy costs the
//! path to the key, and a range is removed as fast as a key.

use std::cmp::Ordering;
use std::ops::{Add, Bound, Sub};
use std::sync::Arc;

use bytes::Bytes;
use types::KeyRange;
use types::seed::Seed;

/// What a pair costs on disk beside its key and value.
const PAIR_OVERHEAD_BYTES: u64 = 8;

type Link = Option<Arc<Node>>;

/// How much some pairs are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) keys: u64,
    pub(super) bytes: u64,
}

impl Add for Amount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { keys: self.keys + other.keys, bytes: self.bytes + other.bytes }
    }
}

impl Sub for Amount {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { keys: self.keys - other.keys, bytes: self.bytes - other.bytes }
    }
}

/// A pair, and the pairs below it in the tree.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) key: Bytes,
    pub(super) value: Bytes,
    priority: u64,
    /// This pair and all below.
    amount: Amount,
    left: Link,
    right: Link,
}

impl Node {
    fn new(key: Bytes, value: Bytes, left: Link, right: Link) -> Arc<Self> {
        let priority = priority(&key);
        let mut node = Self { key, value, priority, amount: Amount::default(), left, right };
        node.count();
        Arc::new(node)
    }

    fn count(&mut self) {
        let bytes = (self.key.len() + self.value.len()) as u64 + PAIR_OVERHEAD_BYTES;
        self.amount = Amount { keys: 1, bytes } + amount(&self.left) + amount(&self.right);
    }
}

fn priority(key: &[u8]) -> u64 {
    Seed(key.len() as u64).hash(&[u64::from(crc32fast::hash(key))])
}

fn amount(link: &Link) -> Amount {
    link.as_ref().map_or(Amount::default(), |node| node.amount)
}

/// The map. Cloning it costs nothing.
#[derive(Clone, Default)]
pub(super) struct Tree {
    root: Link,
}

impl Tree {
    /// Bytes of all pairs.
    pub(super) fn bytes(&self) -> u64 {
        amount(&self.root).bytes
    }

    /// How much the pairs of a range are.
    pub(super) fn amount_in(&self, range: &KeyRange) -> Amount {
        if range.is_empty() {
            return Amount::default();
        }
        let below_end = range.end_bound().map_or(amount(&self.root), |end| self.amount_below(end));
        below_end - self.amount_below(&range.start)
    }

    fn amount_below(&self, key: &[u8]) -> Amount {
        let (mut link, mut sum) = (&self.root, Amount::default());
        while let Some(node) = link {
            if key <= &node.key[..] {
                link = &node.left;
            } else {
                sum = sum + (node.amount - amount(&node.right));
                link = &node.right;
            }
        }
        sum
    }

    /// A key's value.
    pub(super) fn get(&self, key: &[u8]) -> Option<&Bytes> {
        let mut link = &self.root;
        while let Some(node) = link {
            match key.cmp(&node.key) {
                Ordering::Less => link = &node.left,
                Ordering::Greater => link = &node.right,
                Ordering::Equal => return Some(&node.value),
            }
        }
        None
    }

    /// The lowest pair from a bound on.
    pub(super) fn first_from(&self, from: Bound<&[u8]>) -> Option<&Arc<Node>> {
        let (mut link, mut best) = (&self.root, None);
        while let Some(node) = link {
            let inside = match from {
                Bound::Included(key) => &node.key[..] >= key,
                Bound::Excluded(key) => &node.key[..] > key,
                Bound::Unbounded => true,
            };
            if inside {
                best = Some(node);
                link = &node.left;
            } else {
                link = &node.right;
            }
        }
        best
    }

    /// The highest pair up to a bound.
    pub(super) fn last_to(&self, to: Bound<&[u8]>) -> Option<&Arc<Node>> {
        let (mut link, mut best) = (&self.root, None);
        while let Some(node) = link {
            let inside = match to {
                Bound::Included(key) => &node.key[..] <= key,
                Bound::Excluded(key) => &node.key[..] < key,
                Bound::Unbounded => true,
            };
            if inside {
                best = Some(node);
                link = &node.right;
            } else {
                link = &node.left;
            }
        }
        best
    }

    /// Sets a key's value.
    pub(super) fn insert(&mut self, key: Bytes, value: Bytes) {
        let priority = priority(&key);
        insert(&mut self.root, key, value, priority);
    }

    /// Removes a key.
    pub(super) fn remove(&mut self, key: &[u8]) {
        // Looking first keeps the path to a key that is not there from being copied.
        if self.get(key).is_some() {
            remove(&mut self.root, key);
        }
    }

    /// Removes all keys of a range.
    pub(super) fn remove_range(&mut self, range: &KeyRange) {
        if range.is_empty() || self.amount_in(range).keys == 0 {
            return;
        }
        let (below, rest) = split(self.root.take(), &range.start);
        let above = range.end_bound().and_then(|end| split(rest, end).1);
        self.root = merge(below, above);
    }
}

fn insert(link: &mut Link, key: Bytes, value: Bytes, of: u64) {
    match link {
        // A key that is in the tree has its priority there, so it cannot lie below a smaller one.
        Some(node) if node.priority >= of => {
            let node = Arc::make_mut(node);
            match key.cmp(&node.key) {
                Ordering::Less => insert(&mut node.left, key, value, of),
                Ordering::Greater => insert(&mut node.right, key, value, of),
                Ordering::Equal => node.value = value,
            }
            node.count();
        }
        _ => {
            let (left, right) = split(link.take(), &key);
            *link = Some(Node::new(key, value, left, right));
        }
    }
}

fn remove(link: &mut Link, key: &[u8]) {
    let Some(node) = link else { return };
    let node = Arc::make_mut(node);
    if key == &node.key[..] {
        *link = merge(node.left.take(), node.right.take());
        return;
    }
    remove(if key < &node.key[..] { &mut node.left } else { &mut node.right }, key);
    node.count();
}

/// The pairs below a key, and the others.
fn split(link: Link, key: &[u8]) -> (Link, Link) {
    let Some(mut node) = link else { return (None, None) };
    let owned = Arc::make_mut(&mut node);
    if &owned.key[..] < key {
        let (left, right) = split(owned.right.take(), key);
        owned.right = left;
        owned.count();
        (Some(node), right)
    } else {
        let (left, right) = split(owned.left.take(), key);
        owned.left = right;
        owned.count();
        (left, Some(node))
    }
}

/// One tree of two, all keys of the first being below those of the second.
fn merge(left: Link, right: Link) -> Link {
    match (left, right) {
        (None, other) | (other, None) => other,
        (Some(mut left), Some(mut right)) => {
            if left.priority >= right.priority {
                let owned = Arc::make_mut(&mut left);
                owned.right = merge(owned.right.take(), Some(right));
                owned.count();
                Some(left)
            } else {
                let owned = Arc::make_mut(&mut right);
                owned.left = merge(Some(left), owned.left.take());
                owned.count();
                Some(right)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use types::seed::Rng;

    use super::*;

    type Model = BTreeMap<Vec<u8>, Vec<u8>>;

    fn pairs(tree: &Tree) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut found = Vec::new();
        let mut next = tree.first_from(Bound::Unbounded);
        while let Some(node) = next {
            found.push((node.key.to_vec(), node.value.to_vec()));
            next = tree.first_from(Bound::Excluded(&node.key));
        }
        found
    }

    fn check(link: &Link) -> usize {
        let Some(node) = link else { return 0 };
        let mut counted = Node::clone(node);
        counted.count();
        assert_eq!(counted.amount, node.amount);
        for child in [&node.left, &node.right].into_iter().flatten() {
            assert!(child.priority <= node.priority);
        }
        1 + check(&node.left).max(check(&node.right))
    }

    #[test]
    fn agrees_with_a_map_and_copies_stay() {
        let mut rng = Rng::new(7);
        let (mut tree, mut model) = (Tree::default(), Model::new());
        let mut copies = Vec::new();
        for step in 0..20_000_u64 {
            let key = rng.below(500).to_string().into_bytes();
            match rng.below(100) {
                0 => {
                    let range = KeyRange::new(key, rng.below(500).to_string().into_bytes());
                    tree.remove_range(&range);
                    model.retain(|key, _| !range.contains(key));
                }
                1 => copies.push((tree.clone(), model.clone())),
                2..=30 => {
                    tree.remove(&key);
                    model.remove(&key);
                }
                _ => {
                    tree.insert(key.clone().into(), step.to_string().into());
                    model.insert(key, step.to_string().into_bytes());
                }
            }
        }
        copies.push((tree, model));
        for (tree, model) in copies {
            check(&tree.root);
            assert_eq!(pairs(&tree), model.clone().into_iter().collect::<Vec<_>>());
            let range = KeyRange::new("2", "3");
            let inside = model.iter().filter(|(key, _)| range.contains(key));
            let bytes = inside.clone().map(|(key, value)| (key.len() + value.len()) as u64 + PAIR_OVERHEAD_BYTES).sum();
            assert_eq!(tree.amount_in(&range), Amount { keys: inside.count() as u64, bytes });
        }
    }

    #[test]
    fn ascending_keys_make_no_deep_tree() {
        let mut tree = Tree::default();
        (0..100_000_u64).for_each(|n| tree.insert(Bytes::copy_from_slice(&n.to_be_bytes()), Bytes::new()));
        let depth = check(&tree.root);
        assert!(depth < 80, "100,000 keys are {depth} deep");
    }

    #[test]
    fn an_unshared_tree_changes_in_place() {
        let mut tree = Tree::default();
        (0..100_u64).for_each(|n| tree.insert(Bytes::copy_from_slice(&n.to_be_bytes()), Bytes::new()));
        let root = Arc::as_ptr(tree.root.as_ref().expect("keys were put"));
        (0..100_u64).for_each(|n| tree.insert(Bytes::copy_from_slice(&n.to_be_bytes()), Bytes::from_static(b"v")));
        assert_eq!(Arc::as_ptr(tree.root.as_ref().expect("keys were put")), root);
        let copy = tree.clone();
        tree.insert(Bytes::copy_from_slice(&0_u64.to_be_bytes()), Bytes::new());
        assert_eq!(Arc::as_ptr(copy.root.as_ref().expect("keys were put")), root);
    }
}
