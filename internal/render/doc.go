// Package render makes, from a manifest, what the other half of a private link needs: load balancer, private link
// service, names, and what is typed into the customer's form.
//
// It owns the resolved form of a manifest (Network), from which all formats are made, and what each cloud refuses of
// it. It is pure: a manifest in, files out. It reads no clock and no file, asks no cloud, and never writes. The same
// manifest and options always give the same bytes.
package render
