//! Where the registers lie, and which of them is used next.

use bytes::{Bytes, BytesMut};
use types::seed::Rng;
use types::{ColumnFamily, KeyRange};

use super::WorkloadConfig;
use crate::history::{History, RegisterId, RegisterKind};

/// How many keys a group has.
const GROUP_KEYS: usize = 4;

/// The kinds of a region's registers, over and over.
const KINDS: [RegisterKind; 8] = [
    RegisterKind::Plain,
    RegisterKind::Group,
    RegisterKind::Plain,
    RegisterKind::Deletable,
    RegisterKind::Plain,
    RegisterKind::Counter,
    RegisterKind::Plain,
    RegisterKind::Deletable,
];

/// The column families of a region's registers, over and over. Not as many as [`KINDS`], so that all pairs occur.
const FAMILIES: [ColumnFamily; 5] =
    [ColumnFamily::Default, ColumnFamily::Default, ColumnFamily::Lock, ColumnFamily::Default, ColumnFamily::Write];

/// How many registers of each kind are hot.
const HOT: usize = 3;

/// A place for a register. When it is retired another one takes its place.
#[derive(Debug)]
struct Slot {
    id: RegisterId,
    kind: RegisterKind,
    family: ColumnFamily,
    /// What its keys begin with.
    stem: Bytes,
    generation: u32,
}

/// All registers that are in use.
#[derive(Debug)]
pub struct Layout {
    slots: Vec<Slot>,
}

impl Layout {
    /// Puts registers into each region.
    pub fn new(config: &WorkloadConfig, history: &mut History) -> Self {
        let mut slots = Vec::new();
        for (region, range) in ranges(&config.split_keys).iter().enumerate() {
            for number in 0..config.registers_per_region as usize {
                // Each region begins elsewhere in the lists, so that few registers in many regions vary too.
                let kind = KINDS[(number + 3 * region) % KINDS.len()];
                let family = FAMILIES[(number + region) % FAMILIES.len()];
                let stem = key_in(range, &format!("{number:03}"));
                let mut slot = Slot { id: RegisterId(0), kind, family, stem, generation: 0 };
                slot.id = slot.add(history);
                slots.push(slot);
            }
        }
        assert!(!slots.is_empty(), "a workload needs registers: registers_per_region is at least one");
        Self { slots }
    }

    /// A register of a kind that pleases, half of the time a hot one; its place, too.
    pub fn pick(&self, rng: &mut Rng, pleases: impl Fn(RegisterKind) -> bool) -> Option<(usize, RegisterId)> {
        let is_hot = rng.one_in(2);
        let mut places = (0..self.slots.len()).filter(|place| pleases(self.slots[*place].kind));
        let count = places.clone().count();
        let bound = if is_hot { count.min(HOT) } else { count };
        let place = places.nth(usize::try_from(rng.below(bound.max(1) as u64)).ok()?)?;
        Some((place, self.slots[place].id))
    }

    /// Puts a fresh register in the place of one that is retired.
    pub fn renew(&mut self, place: usize, history: &mut History) -> RegisterId {
        let slot = &mut self.slots[place];
        slot.generation += 1;
        slot.id = slot.add(history);
        slot.id
    }

    /// A column family, and a range of keys that begins with a register and goes on through some of those behind it, perhaps
    /// into other regions.
    pub fn pick_range(&self, rng: &mut Rng) -> (ColumnFamily, KeyRange) {
        let first = rng.below(self.slots.len() as u64) as usize;
        let last = first + 1 + rng.below(24) as usize;
        let end = self.slots.get(last).map_or_else(Bytes::new, |slot| slot.stem.clone());
        (self.slots[first].family, KeyRange::new(self.slots[first].stem.clone(), end))
    }
}

impl Slot {
    fn add(&self, history: &mut History) -> RegisterId {
        let name = |suffix: &str| {
            let mut key = BytesMut::from(&self.stem[..]);
            key.extend_from_slice(format!(".{}{suffix}", self.generation).as_bytes());
            key.freeze()
        };
        let keys = match self.kind {
            RegisterKind::Group => (0..GROUP_KEYS).map(|number| name(&format!("/{number}"))).collect(),
            RegisterKind::Plain | RegisterKind::Deletable | RegisterKind::Counter => vec![name("")],
        };
        history.add(self.kind, self.family, keys)
    }
}

/// The ranges between split keys.
pub fn ranges(split_keys: &[Bytes]) -> Vec<KeyRange> {
    let starts = std::iter::once(Bytes::new()).chain(split_keys.iter().cloned());
    let ends = split_keys.iter().cloned().chain([Bytes::new()]);
    starts.zip(ends).map(|(start, end)| KeyRange { start, end }).collect()
}

/// A key in a range that ends with a name, and so that keys that begin with it are in the range as well.
///
/// The name is of printable characters.
pub fn key_in(range: &KeyRange, name: &str) -> Bytes {
    let join = |separator: &str, name: &str| {
        let mut key = BytesMut::from(&range.start[..]);
        key.extend_from_slice(separator.as_bytes());
        key.extend_from_slice(name.as_bytes());
        key.freeze()
    };
    // Readable if possible: the range may end where its start goes on.
    let separator = if range.is_below_end(&join("", &format!("{name}\u{7f}"))) { "" } else { "\0" };
    join(separator, name)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests may")]
mod tests {
    use super::*;

    fn layout(config: &WorkloadConfig) -> (Layout, History) {
        let mut history = History::default();
        (Layout::new(config, &mut history), history)
    }

    #[test]
    fn every_region_has_its_registers() {
        let split_keys: Vec<_> = ["a", "ab", "m"].map(Bytes::from).into();
        let config = WorkloadConfig { split_keys: split_keys.clone(), registers_per_region: 40, ..Default::default() };
        let (_, history) = layout(&config);
        for range in ranges(&split_keys) {
            let inside = history.live().filter(|(_, register)| register.keys.iter().all(|key| range.contains(key)));
            let inside: Vec<_> = inside.map(|(_, register)| (register.kind, register.family)).collect();
            assert_eq!(inside.len(), 40, "{range}");
            for kind in KINDS {
                assert!(ColumnFamily::ALL.iter().all(|family| inside.contains(&(kind, *family))), "{kind:?}");
            }
        }
    }

    #[test]
    fn a_register_that_is_retired_makes_room() {
        let (mut layout, mut history) = layout(&WorkloadConfig { registers_per_region: 1, ..Default::default() });
        let mut rng = Rng::new(1);
        let (place, first) = layout.pick(&mut rng, |_| true).unwrap();
        history.retire(first);
        let second = layout.renew(place, &mut history);
        assert_eq!(layout.pick(&mut rng, |_| true), Some((place, second)));
        assert_ne!(history.register(first).keys, history.register(second).keys);
        assert_eq!(layout.pick(&mut rng, |kind| kind == RegisterKind::Counter), None);
    }
}
