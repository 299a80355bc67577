// Package setup gives the agent's service, which is not root, the rights on this VM that the settings
// ask for, and takes back what they do not ask for any more.
//
// It owns the service's drop-in, its polkit rule, needrestart's override for the broker's unit, and what
// it gave by access control lists. It never gives more than one unit and single files and folders need, and
// never changes a file of Kafka's.
package setup
