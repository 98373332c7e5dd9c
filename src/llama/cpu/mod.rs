//! Which build of ggml's CPU kernels this process uses.
//!
//! The executable carries the AVX2 baseline and, on x86-64, builds for AVX-512 (see `build.rs`). A worker registers the
//! widest one that the processor can run before it loads a model.

use std::sync::OnceLock;

/// A build of ggml's CPU kernels, from the least to the most demanding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kernels {
    /// The baseline every supported x86-64 processor runs (AVX2, FMA, F16C, BMI2).
    Avx2,
    /// AVX-512 F, CD, VL, DQ and BW.
    Avx512,
    /// The same with the 8-bit dot product (VNNI): the fast path of the Q4_0 and Q8_0 layouts.
    Avx512Vnni,
    /// The portable build of other architectures.
    Portable,
}

impl Kernels {
    /// Name for logs, metrics and `filbert doctor`.
    pub fn name(self) -> &'static str {
        match self {
            Kernels::Avx2 => "avx2",
            Kernels::Avx512 => "avx512",
            Kernels::Avx512Vnni => "avx512vnni",
            Kernels::Portable => "portable",
        }
    }
}

/// Instruction sets of the baseline that this processor lacks, by name; empty when local inference can run.
pub fn missing_features() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    {
        let have = [
            ("sse4.2", is_x86_feature_detected!("sse4.2")),
            ("avx", is_x86_feature_detected!("avx")),
            ("avx2", is_x86_feature_detected!("avx2")),
            ("fma", is_x86_feature_detected!("fma")),
            ("f16c", is_x86_feature_detected!("f16c")),
            ("bmi2", is_x86_feature_detected!("bmi2")),
        ];
        have.iter().filter(|(_, present)| !present).map(|(name, _)| *name).collect()
    }
    #[cfg(not(target_arch = "x86_64"))]
    Vec::new()
}

/// The widest kernels that are linked in and that this processor can run.
pub fn best() -> Kernels {
    #[cfg(target_arch = "x86_64")]
    {
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512cd")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512bw");
        if cfg!(ggml_cpu = "avx512vnni") && avx512 && is_x86_feature_detected!("avx512vnni") {
            return Kernels::Avx512Vnni;
        }
        if cfg!(ggml_cpu = "avx512") && avx512 {
            return Kernels::Avx512;
        }
        Kernels::Avx2
    }
    #[cfg(not(target_arch = "x86_64"))]
    Kernels::Portable
}

/// Makes [`best`] the CPU backend of this process and returns what is in use.
///
/// Call it before any other use of llama.cpp: a model loaded earlier keeps the kernels it was loaded with. Later calls
/// change nothing. `FILBERT_CPU_KERNELS` (`avx2`, `avx512`, `avx512vnni`) asks for narrower kernels than the best, to
/// compare them or to work around a faulty machine; a wider one than the processor has is not obeyed.
pub fn install_best_backend() -> Kernels {
    static INSTALLED: OnceLock<Kernels> = OnceLock::new();
    *INSTALLED.get_or_init(|| {
        let best = best();
        let kernels = match std::env::var("FILBERT_CPU_KERNELS").as_deref() {
            Ok("avx2") => best.min(Kernels::Avx2),
            Ok("avx512") if cfg!(ggml_cpu = "avx512") => best.min(Kernels::Avx512),
            _ => best,
        };
        register(kernels);
        kernels
    })
}

#[cfg(any(ggml_cpu = "avx512", ggml_cpu = "avx512vnni"))]
#[allow(unsafe_code)] // a foreign function of ggml that the bindings do not know: its renamed variants
fn register(kernels: Kernels) {
    use llama_cpp_sys_2 as sys;
    unsafe extern "C" {
        #[cfg(ggml_cpu = "avx512")]
        fn ggml_backend_cpu_reg_avx512() -> sys::ggml_backend_reg_t;
        #[cfg(ggml_cpu = "avx512vnni")]
        fn ggml_backend_cpu_reg_avx512vnni() -> sys::ggml_backend_reg_t;
    }
    // SAFETY: plain calls without arguments into ggml's registry; the caller makes sure that no model is loaded yet,
    // so no buffer of the replaced backend exists. The variant's instructions were checked by `best`.
    unsafe {
        let wider = match kernels {
            #[cfg(ggml_cpu = "avx512")]
            Kernels::Avx512 => ggml_backend_cpu_reg_avx512(),
            #[cfg(ggml_cpu = "avx512vnni")]
            Kernels::Avx512Vnni => ggml_backend_cpu_reg_avx512vnni(),
            _ => return,
        };
        let baseline = sys::ggml_backend_reg_by_name(c"CPU".as_ptr());
        if !baseline.is_null() && baseline != wider {
            sys::ggml_backend_unload(baseline);
        }
        sys::ggml_backend_register(wider);
    }
}

#[cfg(not(any(ggml_cpu = "avx512", ggml_cpu = "avx512vnni")))]
fn register(_kernels: Kernels) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrower_kernels_order_below_wider_ones() {
        assert!(Kernels::Avx2 < Kernels::Avx512 && Kernels::Avx512 < Kernels::Avx512Vnni);
    }

    #[test]
    fn the_installed_kernels_are_never_wider_than_the_processor_allows() {
        assert!(install_best_backend() <= best());
        assert_eq!(install_best_backend(), install_best_backend());
    }
}
