//! Compiles ggml's CPU backend a second time for wider vector units, so that one static executable runs everywhere
//! with AVX2 and yet uses AVX-512 where the processor has it.
//!
//! ggml selects its kernels at compile time and offers run-time dispatch only with shared libraries. Here each variant
//! is compiled from the same vendored sources with other flags, every symbol that it defines gets a suffix of its own
//! (so that no inline or template function compiled for AVX-512 can be picked by the linker for the baseline), and
//! `cpu::install_best_backend` registers the variant the processor can run. See `docs/adr/` on CPU dispatch.
//!
//! Without binutils, or on another architecture, the baseline alone is built and a warning is printed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A build of ggml's CPU backend beside the AVX2 baseline.
struct Variant {
    /// Suffix of its symbols and name of the `cfg(ggml_cpu = "…")` that says it is linked in.
    name: &'static str,
    /// Compiler flags on top of the baseline's.
    flags: &'static [&'static str],
    /// ggml's own feature macros that go with the flags.
    defines: &'static [&'static str],
}

const BASELINE_FLAGS: &[&str] = &["-m64", "-march=x86-64", "-msse4.2", "-mf16c", "-mfma", "-mbmi2", "-mavx", "-mavx2"];
const BASELINE_DEFINES: &[&str] = &["GGML_SSE42", "GGML_F16C", "GGML_FMA", "GGML_BMI2", "GGML_AVX", "GGML_AVX2"];

const VARIANTS: &[Variant] = &[
    Variant {
        name: "avx512",
        flags: &["-mavx512f", "-mavx512cd", "-mavx512vl", "-mavx512dq", "-mavx512bw"],
        defines: &["GGML_AVX512"],
    },
    Variant {
        name: "avx512vnni",
        flags: &["-mavx512f", "-mavx512cd", "-mavx512vl", "-mavx512dq", "-mavx512bw", "-mavx512vnni"],
        defines: &["GGML_AVX512", "GGML_AVX512_VNNI"],
    },
];

/// The translation units of ggml's CPU backend on x86, relative to `ggml/src/ggml-cpu` (as its CMake file lists them).
const SOURCES: &[&str] = &[
    "ggml-cpu.c",
    "ggml-cpu.cpp",
    "repack.cpp",
    "hbm.cpp",
    "quants.c",
    "traits.cpp",
    "amx/amx.cpp",
    "amx/mmq.cpp",
    "tiled/tiled.cpp",
    "tiled/tiled-kernel.cpp",
    "binary-ops.cpp",
    "unary-ops.cpp",
    "vec.cpp",
    "ops.cpp",
    "llamafile/sgemm.cpp",
    "arch/x86/quants.c",
    "arch/x86/repack.cpp",
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(ggml_cpu, values(\"avx512\", \"avx512vnni\"))");
    let arch = std::env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let os = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if arch != "x86_64" || os != "linux" {
        return;
    }
    for tool in ["nm", "objcopy", "objdump", "readelf", "ar"] {
        if Command::new(tool).arg("--version").output().map_or(true, |o| !o.status.success()) {
            println!("cargo:warning=`{tool}` is missing: local inference is built for AVX2 only (install binutils for AVX-512)");
            return;
        }
    }
    let Some(sources) = vendored_sources() else {
        println!("cargo:warning=the sources of llama.cpp were not found: local inference is built for AVX2 only");
        return;
    };
    for variant in VARIANTS {
        match build(variant, &sources) {
            Ok(()) => println!("cargo:rustc-cfg=ggml_cpu=\"{}\"", variant.name),
            Err(why) => println!("cargo:warning=the CPU kernels for {} were left out: {why}", variant.name),
        }
    }
}

/// The root of llama.cpp's sources that the `-sys` crate was built from, by the CMake cache it leaves behind.
fn vendored_sources() -> Option<PathBuf> {
    let cmake_dir = std::env::var("DEP_LLAMA_GGML_CMAKE_DIR").ok()?;
    let out = Path::new(&cmake_dir).ancestors().nth(2)?;
    let cache = std::fs::read_to_string(out.join("build/CMakeCache.txt")).ok()?;
    cache.lines().find_map(|l| l.strip_prefix("CMAKE_HOME_DIRECTORY:INTERNAL=")).map(PathBuf::from)
}

fn build(variant: &Variant, sources: &Path) -> Result<(), String> {
    let out = PathBuf::from(std::env::var("OUT_DIR").map_err(|e| e.to_string())?).join(variant.name);
    std::fs::create_dir_all(&out).map_err(|e| e.to_string())?;
    let ggml = sources.join("ggml");
    let cpu = ggml.join("src/ggml-cpu");

    let mut objects = Vec::new();
    for cpp in [false, true] {
        let mut cc = cc::Build::new();
        cc.cpp(cpp).std(if cpp { "gnu++17" } else { "gnu11" }).opt_level(3).debug(false).warnings(false).pic(true);
        cc.cpp_link_stdlib(None).out_dir(out.join(if cpp { "cpp" } else { "c" }));
        for dir in [ggml.join("src"), cpu.clone(), ggml.join("include")] {
            cc.include(dir);
        }
        for define in BASELINE_DEFINES.iter().chain(variant.defines) {
            cc.define(define, None);
        }
        cc.define("GGML_SCHED_MAX_COPIES", "4").define("_GNU_SOURCE", None).define("_XOPEN_SOURCE", "600").define("NDEBUG", None);
        for define in ["GGML_USE_CPU_REPACK", "GGML_USE_LLAMAFILE", "GGML_USE_OPENMP"] {
            cc.define(define, None);
        }
        for flag in BASELINE_FLAGS.iter().chain(variant.flags) {
            cc.flag(flag);
        }
        cc.flag("-fopenmp").flag("-ffunction-sections").flag("-fdata-sections");
        for file in SOURCES.iter().filter(|f| f.ends_with(".cpp") == cpp) {
            cc.file(cpu.join(file));
        }
        objects.extend(cc.try_compile_intermediates().map_err(|e| e.to_string())?);
    }

    refuse_start_up_code(&objects)?;
    let map = out.join("symbols.txt");
    std::fs::write(&map, renames(&objects, variant.name)?).map_err(|e| e.to_string())?;
    let archive = out.join(format!("libggml_cpu_{}.a", variant.name));
    let _ = std::fs::remove_file(&archive);
    let mut renamed = Vec::new();
    for (i, object) in objects.iter().enumerate() {
        let to = out.join(format!("{i}.o"));
        let arg = format!("--redefine-syms={}", map.display());
        run(Command::new("objcopy").arg(arg).arg(object).arg(&to))?;
        renamed.push(to);
    }
    run(Command::new("ar").arg("crs").arg(&archive).args(&renamed))?;
    println!("cargo:rustc-link-search=native={}", out.display());
    println!("cargo:rustc-link-lib=static=ggml_cpu_{}", variant.name);
    Ok(())
}

/// `old new` lines for every symbol that the objects define and for every COMDAT group's signature: a constructor's group
/// has one (`…C5Ev`) that is no symbol of its own, and the linker keeps one group of each signature.
fn renames(objects: &[PathBuf], suffix: &str) -> Result<String, String> {
    let listing = run(Command::new("nm").args(["--defined-only", "--extern-only", "--format=posix"]).args(objects))?;
    let mut names = BTreeSet::new();
    for line in listing.lines() {
        let mut words = line.split_whitespace();
        if let (Some(name), Some(kind)) = (words.next(), words.next()) {
            if kind.len() == 1 {
                names.insert(name);
            }
        }
    }
    let groups = run(Command::new("readelf").args(["--section-groups", "--wide"]).args(objects))?;
    for line in groups.lines().filter(|l| l.starts_with("COMDAT group section")) {
        if let Some(name) = line.split('[').next_back().and_then(|rest| rest.split(']').next()) {
            names.insert(name);
        }
    }
    if !names.contains("ggml_backend_cpu_reg") {
        return Err("`ggml_backend_cpu_reg` is not among the compiled symbols".into());
    }
    Ok(names.iter().map(|n| format!("{n} {n}_{suffix}\n")).collect())
}

/// Constructors would run on every processor at start, also on those that lack the instructions.
fn refuse_start_up_code(objects: &[PathBuf]) -> Result<(), String> {
    for object in objects {
        let sections = run(Command::new("objdump").arg("-h").arg(object))?;
        if sections.contains(".init_array") || sections.contains(".ctors") {
            return Err(format!("`{}` has code that runs at program start", object.display()));
        }
    }
    Ok(())
}

fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
