//! Labels with a fixed set of values, and metrics that have one handle per value.

use std::marker::PhantomData;
use std::ops::Index;

/// A label whose values are known beforehand; made with the `labels!` macro of this crate.
pub trait Label: Copy + 'static {
    /// The label's name.
    const NAME: &'static str;
    /// Every value, in order.
    const ALL: &'static [Self];

    /// The value as it stands in the metric.
    fn value(self) -> &'static str;

    /// The value's place in [`Label::ALL`].
    fn place(self) -> usize;
}

/// A metric with one handle per value of a label: `metric[Value]` costs an array access and no look-up.
#[derive(Clone, Debug)]
pub struct ByLabel<L, M> {
    handles: Box<[M]>,
    label: PhantomData<fn(L)>,
}

impl<L: Label, M> ByLabel<L, M> {
    /// Makes a handle per value.
    pub fn new(make: impl FnMut(L) -> M) -> Self {
        Self { handles: L::ALL.iter().copied().map(make).collect(), label: PhantomData }
    }
}

impl<L: Label, M> Index<L> for ByLabel<L, M> {
    type Output = M;

    fn index(&self, label: L) -> &M {
        &self.handles[label.place()]
    }
}

/// Defines an enum that is a [`Label`].
macro_rules! labels {
    ($(#[$doc:meta])* $name:ident: $label:literal { $($(#[$value_doc:meta])* $variant:ident = $value:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$value_doc])* $variant,)+
        }

        impl $crate::label::Label for $name {
            const NAME: &'static str = $label;
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            fn value(self) -> &'static str {
                match self {
                    $(Self::$variant => $value,)+
                }
            }

            fn place(self) -> usize {
                self as usize
            }
        }
    };
}
pub(crate) use labels;
