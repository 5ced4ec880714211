//! Which vector instructions the machine has.
//!
//! The only unsafe code of this crate is here, in `avx2` and in `row`: calling functions that are compiled
//! for instructions that not every machine has, filling registers, and hints to the processor. A value of
//! [`Avx2`] is the proof that this machine has them.

/// Work whose code is compiled once for each kind of hardware. All of it has to be `inline(always)`.
pub(crate) trait Work {
    fn run(self);
}

/// What the machine computes with.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Hardware {
    /// What every machine of this architecture has.
    Common,
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
}

/// A machine with AVX2.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx2(());

impl Hardware {
    /// All that this machine has, the best last.
    pub(crate) fn all() -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = std::is_x86_feature_detected!("avx2").then_some(Self::Avx2(Avx2(())));
            [Some(Self::Common), avx2].into_iter().flatten().collect()
        }
        #[cfg(not(target_arch = "x86_64"))]
        vec![Self::Common]
    }

    /// The best that this machine has.
    pub(crate) fn best() -> Self {
        Self::all().pop().unwrap_or(Self::Common)
    }

    /// Does work with the code for this hardware.
    pub(crate) fn run(self, work: impl Work) {
        match self {
            Self::Common => work.run(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(proof) => proof.run(work),
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl Avx2 {
    #[expect(unsafe_code, reason = "AVX2 code on a machine that has it")]
    fn run(self, work: impl Work) {
        #[target_feature(enable = "avx2")]
        fn compiled(work: impl Work) {
            work.run();
        }
        // SAFETY: a value of this type is made only where the machine has AVX2.
        unsafe { compiled(work) }
    }
}

/// Asks memory for what will be needed soon. It is a hint that changes no result.
#[inline(always)]
#[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "a hint to the processor"))]
pub(crate) fn prefetch<T>(wanted: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every machine of this architecture has the instruction, which may be given any
        // address and neither reads nor writes as far as the program can tell.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(wanted).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = wanted;
}
