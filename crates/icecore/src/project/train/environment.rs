//! What a model may depend on besides its rows and its recipe: versions, the platform.

/// Each by the name of the parameter that records it.
pub(super) fn environment() -> [(&'static str, String); 3] {
    let versions = format!(
        "icecore {}, arrow {}, {}",
        env!("CARGO_PKG_VERSION"),
        arrow::ARROW_VERSION,
        icecore_train::SOLVERS
    );
    let platform = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH);
    [("library_versions", versions), ("platform", platform), ("cpu_features", cpu_features())]
}

/// What the processor can that a solver or the platform's mathematics may use.
fn cpu_features() -> String {
    #[cfg(target_arch = "x86_64")]
    let found = [
        ("sse4.2", std::arch::is_x86_feature_detected!("sse4.2")),
        ("avx", std::arch::is_x86_feature_detected!("avx")),
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("fma", std::arch::is_x86_feature_detected!("fma")),
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
        ("avx512bw", std::arch::is_x86_feature_detected!("avx512bw")),
        ("avx512vbmi", std::arch::is_x86_feature_detected!("avx512vbmi")),
    ];
    #[cfg(target_arch = "aarch64")]
    let found = [
        ("neon", std::arch::is_aarch64_feature_detected!("neon")),
        ("sve", std::arch::is_aarch64_feature_detected!("sve")),
    ];
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let found: [(&str, bool); 0] = [];
    let names = found.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name);
    names.collect::<Vec<_>>().join(" ")
}
