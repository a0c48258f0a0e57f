//go:build mpi

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"magvit/trainer/trainertest"
)

// twoHosts makes two network namespaces that a cable joins, the hosts of a test. It returns a
// command line that runs a program on the first one, and the launcher's flags for both.
func twoHosts(t *testing.T) (first, flags, environment []string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces as hosts: want root")
	}
	ip := func(args ...string) error {
		text, err := exec.Command("ip", args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ip %s: %v: %s", strings.Join(args, " "), err, text)
		}
		return nil
	}
	name := func(i int) string { return fmt.Sprintf("magvit%d-%d", os.Getpid(), i) }
	for i := range 2 {
		t.Cleanup(func() { ip("netns", "del", name(i)) }) // with its end of the cable
		if err := ip("netns", "add", name(i)); err != nil {
			t.Skip("network namespaces as hosts: ", err)
		}
	}
	cable := [2]string{fmt.Sprintf("mv%d", os.Getpid()), fmt.Sprintf("mw%d", os.Getpid())}
	trainertest.Check(t, ip("link", "add", cable[0], "type", "veth", "peer", "name", cable[1]))
	for i := range 2 {
		trainertest.Check(t, ip("link", "set", cable[i], "netns", name(i)))
		trainertest.Check(t, ip("-n", name(i), "link", "set", cable[i], "name", "eth0"))
		trainertest.Check(t, ip("-n", name(i), "addr", "add", fmt.Sprintf("10.213.77.%d/24", i+1), "dev", "eth0"))
		for _, device := range []string{"lo", "eth0"} {
			trainertest.Check(t, ip("-n", name(i), "link", "set", device, "up"))
		}
	}
	// The launcher's remote shell: its first argument is the address of a host, the rest a command.
	shell := filepath.Join(t.TempDir(), "shell")
	trainertest.Check(t, os.WriteFile(shell, []byte(fmt.Sprintf(`#!/bin/sh
host=${1##*.}; shift
exec ip netns exec magvit%d-$((host-1)) unshare --uts sh -c "echo node$host >/proc/sys/kernel/hostname; $*"
`, os.Getpid())), 0o777))
	environment = []string{"OMPI_MCA_plm_rsh_agent=" + shell, "PRTE_MCA_plm_ssh_agent=" + shell, "OMPI_MCA_btl_tcp_if_include=10.213.77.0/24", "OMPI_MCA_oob_tcp_if_include=10.213.77.0/24",
		"PRTE_MCA_oob_tcp_if_include=10.213.77.0/24", "HYDRA_LAUNCHER_EXEC=" + shell, "HYDRA_LAUNCHER=rsh", "HYDRA_IFACE=eth0", "UCX_TLS=tcp,self", "UCX_NET_DEVICES=eth0", "FI_PROVIDER=tcp", "FI_TCP_IFACE=eth0"}
	flags = []string{"--host", "10.213.77.1,10.213.77.2"}
	if strings.Contains(os.Getenv("MAGVIT_MPIRUN"), "mpich") {
		flags = []string{"-hosts", "10.213.77.1,10.213.77.2", "-ppn", "1"}
	}
	return []string{shell, "x.1"}, flags, environment
}

// TestMPIHosts trains on two hosts: to the bits of one process, and to an end that names the host of
// a rank that does not answer.
func TestMPIHosts(t *testing.T) {
	first, flags, environment := twoHosts(t)
	dir := t.TempDir()
	alone := filepath.Join(dir, "alone")
	succeeds(t, program(t, mpiTraining(t, alone, "fsq")...), "alone")
	on := func(args ...string) *exec.Cmd {
		args = append(append(append([]string{os.Getenv("MAGVIT_MPIRUN"), "-n", "2"}, flags...), binary), args...)
		for i, a := range args { // the remote shell takes one line
			args[i] = "'" + a + "'"
		}
		cmd := mpirun(t)
		cmd.Path, cmd.Args, cmd.Env = first[0], append(first, args...), append(cmd.Env, environment...)
		return cmd
	}
	out := filepath.Join(dir, "two")
	status, log := outcome(t, on(mpiTraining(t, out, "fsq")...), "two hosts")
	if status != done || !strings.Contains(log, "2 ranks on 2 machines") {
		t.Fatalf("exit %d\n%s", status, log)
	}
	if d := differs(t, alone, out); d != "" {
		t.Error(d)
	}
	out = filepath.Join(dir, "stuck")
	go signalAt(t, out, 1, syscall.SIGSTOP)
	if status, log := outcome(t, on(long(mpiTraining(t, out, "fsq"))...), "stuck"); status == done || !strings.Contains(log, "no answer in time: rank 1 on node2") {
		t.Errorf("exit %d\n%s", status, log)
	}
}
