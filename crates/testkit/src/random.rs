//! Random numbers as a function of what they are for: the same seed and the same thing give the
//! same number, in any order, on any number of threads.

/// A source of random numbers that is keyed, not sequential.
#[derive(Debug, Clone, Copy)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The numbers of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: mix(seed ^ 0x9e37_79b9_7f4a_7c15) }
    }

    /// The numbers of one thing among those of this source.
    #[must_use]
    pub const fn of(self, thing: u64) -> Self {
        Self { state: mix(self.state ^ mix(thing.wrapping_add(0x9e37_79b9_7f4a_7c15))) }
    }

    /// The next number.
    pub const fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// A number in [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number in [0, bound).
    pub fn below(&mut self, bound: u64) -> u64 {
        u64::try_from((u128::from(self.bits()) * u128::from(bound)) >> 64).unwrap_or(0)
    }

    /// A normally distributed number (sum of twelve uniforms, which is near enough for data).
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }

    /// An exponentially distributed number of this mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    /// A Poisson distributed count of this mean (Knuth, The Art of Computer Programming 3.4.1).
    pub fn poisson(&mut self, mean: f64) -> u32 {
        // Large means are split, so that the product does not underflow.
        let mut count = 0;
        let mut left = mean;
        while left > 0.0 {
            let limit = (-left.min(16.0)).exp();
            let mut product = self.unit();
            while product > limit {
                count += 1;
                product *= self.unit();
            }
            left -= 16.0;
        }
        count
    }
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
