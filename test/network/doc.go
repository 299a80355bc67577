// Package network has the tests of what `kpls-agent render` writes for clouds: the files are read by what reads them
// in earnest. OpenTofu checks, plans and applies the Terraform modules, with providers that know the real ones' schemas
// and nothing else (stub, schemas). cfn-lint reads the template. No cloud is asked. `make network` builds what they need and runs them; they have
// the build tag network, since building OpenTofu takes minutes.
package network
