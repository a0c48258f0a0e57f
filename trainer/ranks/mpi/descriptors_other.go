//go:build mpi && !linux

package mpi

// closeOnExec is for Linux; elsewhere children inherit what MPI has opened.
func closeOnExec() {}
