// Package acl reads and writes POSIX access control lists (acl(5)) as the kernel keeps them in the
// attribute system.posix_acl_access.
//
// It owns the lists' format and what a list gives to a user. It never decides who gets a right.
package acl
