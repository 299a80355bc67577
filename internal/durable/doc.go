// Package durable replaces a file so that at every instant, also after a crash
// or a power cut, its path leads to all of the old bytes or all of the new ones.
//
// It owns the order of the system calls, the file's permissions through the
// replacement, and what the operator reads when the disk says no. It never
// knows what is in a file, and never changes a file in place.
//
// One process at a time may replace a given file: the temporary file has a fixed
// name next to it. So the next replacement finds and removes what a crash has left
// behind, and at most one such file exists.
package durable
