"""Manifests, indexes and packing: cases that tests of other kinds hold."""

from __future__ import annotations

from tests.layer_cases.case import Case

_DOCUMENT = "unit/test_document.py::"
_LAYOUT = "unit/test_layout.py::"
_FAULTS = "e2e/test_registry_faults.py::"
_PACK = "kernel/test_pack.py::"

IMAGES = (
    Case(
        "D1",
        "fewer `diff_ids` than layers",
        "error before any layer is fetched (skopeo accepts it, umoci panics)",
        tests=(_DOCUMENT + "test_number_of_layers", _FAULTS + "test_d1_d2_number_of_diff_ids"),
    ),
    Case(
        "D2",
        "more `diff_ids` than layers",
        "the same",
        tests=(_DOCUMENT + "test_number_of_layers", _FAULTS + "test_d1_d2_number_of_diff_ids"),
    ),
    Case(
        "D3",
        "a wrong diff id",
        "error (skopeo accepts it); no layer is published",
        tests=(_FAULTS + "test_d3_wrong_diff_id",),
    ),
    Case(
        "D4",
        "a descriptor's size that is too small, too large, negative, 2^63",
        "error; at most one byte more than promised is read",
        tests=(
            _DOCUMENT + "test_refused",
            _FAULTS + "test_d4_size_is_not_what_the_manifest_says",
            "unit/test_verify.py::test_too_long_is_read_one_byte_too_far_only",
            "unit/test_verify.py::test_too_short",
        ),
    ),
    Case(
        "D5",
        "digests by sha512; by others; with capitals, of a wrong length, `sha256:../x`",
        "checked; error that names the algorithm; error",
        tests=(
            _DOCUMENT + "test_refused",
            _DOCUMENT + "test_sha512_is_a_digest",
            "unit/test_verify.py::test_sha512",
            "kernel/test_layer_program.py::test_sha512_diff_id",
        ),
    ),
    Case(
        "D6", "embedded `data` that is not what its digest says", "error", tests=(_DOCUMENT + "test_d6_embedded_data",)
    ),
    Case(
        "I1",
        "an index in an index; five deep; more than 100 entries",
        "searched; error; error",
        tests=(_LAYOUT + "test_i1_nested", _LAYOUT + "test_i1_nested_too_deep", _LAYOUT + "test_i1_too_many"),
    ),
    Case(
        "I2",
        "several entries that fit; entries of unknown type",
        "the first; passed over",
        tests=(_DOCUMENT + "test_best", _LAYOUT + "test_i2_i3_unknown_types_and_attestations_are_passed_over"),
    ),
    Case(
        "I3",
        "attestations (`unknown/unknown`)",
        "passed over",
        tests=(_LAYOUT + "test_i2_i3_unknown_types_and_attestations_are_passed_over",),
    ),
    Case(
        "I4",
        "entries without a platform",
        "used if there is exactly one, and then the config's platform is checked",
        tests=(_LAYOUT + "test_i4_single_entry_without_a_platform", _LAYOUT + "test_i7_image_for_another_platform"),
    ),
    Case(
        "I5",
        "nothing that fits",
        "error that lists what there is",
        tests=(_LAYOUT + "test_i5_no_match_lists_what_there_is",),
    ),
    Case(
        "I6",
        "variants: arm/v7, arm64/v8, amd64/v2",
        "the best that runs: v7, then v6, then v5; arm64 is arm64/v8; amd64/v2 not on v1",
        tests=(_DOCUMENT + "test_best",),
    ),
    Case(
        "I7",
        "a config for another platform than was asked for",
        "error, unless `--platform` asks for that one",
        tests=(_LAYOUT + "test_i7_image_for_another_platform",),
    ),
    Case(
        "F1",
        "layers that may not be distributed; schema 1; artifacts; JSON with a key twice, over 4 MiB, with a BOM, not"
        " UTF-8; an image of 127 layers",
        "error that says so, each; mounted",
        tests=(_DOCUMENT + "test_refused", "kernel/test_runner_rootfs.py::test_upper_layers_win"),
        deviation="layers that may not be distributed are refused at once; no registry or URL is asked for them",
    ),
    Case(
        "K1",
        "packing a file named `.wh.x`, which a step can make",
        "error: it would mean that something is not there",
        tests=(_PACK + "test_k1_a_file_named_as_a_whiteout_is_refused",),
    ),
    Case(
        "K2",
        "packing a whiteout; an opaque directory",
        "`.wh.NAME`; `.wh..wh..opq` in it",
        tests=(_PACK + "test_k2_whiteouts_and_opaque_directories",),
    ),
    Case(
        "K3",
        "packing anything and unpacking it over the same layers",
        "the same tree (all cases above, too), packed to the same bytes",
        tests=(
            "kernel/test_pack_laws.py::test_k3_the_merged_view_survives_archives",
            "kernel/test_pack_laws.py::test_a_layer_survives_its_archive",
        ),
    ),
    Case(
        "K4",
        "packing the same files, made in another order",
        "the same bytes: sorted, no times of access, no names of users; a file's own time stays",
        tests=(_PACK + "test_k4_same_bytes_whatever_the_order_and_inodes",),
    ),
    Case(
        "K5",
        "a file or directory that changes while it is packed",
        "error",
        tests=(
            _PACK + "test_k5_a_file_that_changes_is_detected",
            _PACK + "test_k5_a_directory_that_changes_is_detected",
        ),
    ),
)
