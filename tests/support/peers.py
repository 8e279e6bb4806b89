"""Where Debian 12's runc and crun are known to differ from what the tests ask of a runtime.

The tests also run against these peers, to test the tests (PYRUNTIME_BIN=/usr/sbin/runc). What a peer does otherwise,
by choice or by fault, stands here with the reason; for pyruntime this table is never read. It is true for Debian's
versions on a host without CAP_SYS_RESOURCE and without cgroup v2 controllers.
"""

import fnmatch
from collections.abc import Iterator

import pytest

from support import paths

VERSIONS = {"runc": "1.1.5", "crun": "1.8.1"}

# Test (file::function, with [parameter]; * as in file names) -> why. Entries without * are strict.
RUNC: dict[str, str] = {
    "test_bad_input.py::test_not_a_config[null]": "panics",
    "test_bad_input.py::test_missing_property[.ociVersion]": "does not look at ociVersion",
    "test_bad_input.py::test_unknown_version[*": "does not look at ociVersion",
    "test_bad_input.py::TestProcess::test_rlimit_twice": "takes the last one",
    "test_bad_input.py::TestLinux::test_mappings_without_user_namespace": "ignores them",
    "test_bad_input.py::test_wrong_command_line[nosuchcommand]": "exit status 3",
    "test_cgroup.py::TestPath::test_dots_do_not_lead_out[*": "takes the dots away",
    "test_cgroup.py::TestPath::test_a_cgroup_with_processes_is_refused": "only warns",
    "test_cgroup.py::TestDelete::test_processes_in_nested_cgroups_are_killed": "leaves the cgroup",
    "test_cgroup.py::TestZeroResources::test_zero_values_ask_for_nothing": "warns of memory.kernel 0",
    "test_exec.py::TestOptions::test_rlimits_and_umask_are_the_containers": "exec's umask is always 022",
    "test_exec.py::TestProcessFile::test_everything": "exec's umask is always 022",
    "test_hooks.py::test_order": "runs poststart hooks before the program",
    "test_hooks.py::test_state_on_standard_input[poststart]": "runs poststart hooks before the program",
    "test_hooks.py::TestFailure::test_start_container": "exit status 0",
    "test_hooks.py::TestFailure::test_poststart_stops_the_container": "runs poststart hooks as part of create",
    "test_hooks.py::TestFailure::test_poststop_is_a_warning": "does not run the remaining hooks",
    "test_hooks.py::TestFailure::test_relative_path": "other words",
    "test_hooks.py::TestTimeout::test_hook_and_its_children_are_killed[*": "waits for the hook's children",
    "test_hooks.py::TestStreams::test_no_descriptor_of_the_runtime": "passes descriptors to createContainer hooks",
    "test_hooks.py::TestStreams::test_a_process_that_a_hook_leaves_running": "waits for the hook's children",
    "test_inside_mounts.py::TestRoot::test_path_that_is_a_link": "refuses it",
    "test_inside_mounts.py::TestRoot::test_propagation[shared]": "the root is private in the end",
    "test_inside_mounts.py::TestRoot::test_propagation[unbindable]": "the root is private in the end",
    "test_inside_mounts.py::TestOptions::test_flags[tmpfs-defaults]": "passes it on to the file system",
    "test_inside_mounts.py::TestOptions::test_data": "gives the mount the mode of the directory below it",
    "test_inside_process.py::TestCapabilities::test_a_capability_the_host_cannot_give_is_left_out": "fails",
    "test_inside_process.py::TestSeccomp::test_filter_of_what_a_program_needs": "needs fstatfs after the filter",
    "test_inside_process.py::TestSeccomp::test_filter_without_no_new_privileges": "needs more calls after the filter",
    "test_lifecycle.py::TestWrongOrder::test_delete_of_a_live_container_needs_force[created]": "deletes it",
    "test_lifecycle.py::TestIds::test_id_in_use": "does not name the id",
    "test_lifecycle.py::TestKill::test_delete_removes_what_outlives_init": "leaves the cgroup",
    "test_namespaces.py::test_hostname_and_domainname": "knows no domainname",
    "test_namespaces.py::TestJoin::test_user": "wants mappings for a namespace that is joined",
    "test_namespaces.py::TestTime::*": "knows no time namespace",
    "test_docker.py::TestOptions::test_privileged": "fails where the host lacks a capability",
    "test_docker_control.py::TestExec::test_privileged": "fails where the host lacks a capability",
}
CRUN: dict[str, str] = {
    "test_bad_input.py::test_wrong_type[*": "ignores some",
    "test_bad_input.py::test_missing_property[.process.args]": "crashes",
    "test_bad_input.py::test_program[*": "other words",
    "test_bad_input.py::TestProcess::test_unknown_rlimit": "leaves its cgroup",
    "test_bad_input.py::TestProcess::test_relative_cwd": "takes it",
    "test_bad_input.py::TestLinux::test_*namespace*": "leaves its cgroup, or takes it",
    "test_bad_input.py::TestLinux::test_unknown_file_of_unified_resources": "leaves its cgroup",
    "test_bad_input.py::test_wrong_command_line[*": "exit status 64",
    "test_cgroup.py::TestPath::test_dots_do_not_lead_out[*": "takes them",
    "test_cgroup.py::TestPath::test_a_cgroup_with_processes_is_refused": "takes it",
    "test_cgroup.py::TestPath::test_a_frozen_cgroup_is_refused": "hangs",
    "test_cgroup.py::TestPause::test_wrong_order": "resumes what is not paused",
    "test_cgroup.py::TestPause::test_unknown_container": "other words",
    "test_cgroup.py::TestPs::test_table": "prints pids only",
    "test_cgroup.py::TestPs::test_options_of_ps": "has none",
    "test_cgroup.py::TestZeroResources::test_zero_values_ask_for_nothing": "wants memory.max",
    "test_exec.py::TestStatus::test_program_that_cannot_start[*": "other words",
    "test_exec.py::TestOptions::test_environment": "a variable appears twice",
    "test_exec.py::TestOptions::test_additional_groups": "has no such option",
    "test_exec.py::TestOptions::test_one_capability_more": "replaces the others",
    "test_exec.py::TestOptions::test_rlimits_and_umask_are_the_containers": "are the caller's",
    "test_exec.py::TestDetach::test_failure_leaves_no_pid_file": "other words",
    "test_exec.py::TestProcessFile::test_everything": "exec's umask is the caller's",
    "test_exec.py::TestProcessFile::test_bad_file[{*": "crashes",
    "test_hooks.py::test_order": "does not wait for the program before the poststart hooks",
    "test_hooks.py::test_state_on_standard_input[*": "says created in place of creating",
    "test_hooks.py::TestFailure::*": "exit status 255, no poststop hooks, only a warning for start",
    "test_hooks.py::TestTimeout::test_hook_and_its_children_are_killed[*": "leaves the hook's children",
    "test_hooks.py::TestStreams::test_a_hook_that_does_not_read_blocks_nothing": "killed by SIGPIPE",
    "test_inside_mounts.py::TestOptions::*": "does not clear flags, knows no nosymfollow, no propagation of a bind",
    "test_inside_mounts.py::TestBind::test_a_link_in_the_destination_stays_in_the_root": "fails",
    "test_inside_mounts.py::TestDevices::test_device_rules": "cannot load a filter without CAP_SYS_RESOURCE",
    "test_inside_mounts.py::TestDevices::test_making_nodes_is_not_using_them": "the same",
    "test_inside_process.py::TestCapabilities::test_a_capability_the_host_cannot_give_is_left_out": "fails",
    "test_lifecycle.py::test_create_start_kill_delete": "other words",
    "test_lifecycle.py::test_state_document": "rootfs is relative",
    "test_lifecycle.py::test_ways_to_write_an_option[-b={}]": "does not take it",
    "test_lifecycle.py::TestWrongOrder::test_delete_of_a_live_container_needs_force[created]": "deletes it",
    "test_lifecycle.py::TestWrongOrder::test_kill_of_a_stopped_container": "other words",
    "test_lifecycle.py::TestUnknownContainer::*": "other words",
    "test_lifecycle.py::TestIds::test_bad_id[*": "takes some",
    "test_lifecycle.py::TestKill::test_ways_to_name_a_signal[usr1]": "does not take it",
    "test_lifecycle.py::TestKill::test_unknown_signal[NOSUCH]": "sends signal 0",
    "test_namespaces.py::TestTime::*": "knows no time namespace",
    "test_run.py::TestStatus::test_keep": "has no such option",
    "test_run.py::TestDescriptors::test_preserving_a_descriptor_that_is_not_open": "hangs",
    "test_run.py::TestLog::*": "other words",
    "test_run.py::TestInformation::test_help[*": "has no -h",
    "test_run.py::TestInformation::test_spec_makes_a_config_that_runs": "cannot load a filter without CAP_SYS_RESOURCE",
    "test_run.py::TestInformation::test_features": "has no such command",
    "test_terminal.py::TestPersonsTerminal::*": "does not pass the size on",
}

TABLES = {"runc": RUNC, "crun": CRUN}


def marks(item: pytest.Item) -> Iterator[pytest.MarkDecorator]:
    """Yield the expected failures of the peer under test for a test."""
    if paths.PEER is None:
        return
    name = f"{item.path.name}::{item.nodeid.partition('::')[2]}"
    for pattern, reason in TABLES[paths.PEER].items():
        if fnmatch.fnmatchcase(name, pattern.replace("[", "[[]")):
            why = f"{paths.PEER} {VERSIONS[paths.PEER]}: {reason}"
            yield pytest.mark.xfail(reason=why, strict="*" not in pattern)
