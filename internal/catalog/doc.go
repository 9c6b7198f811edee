// Package catalog knows what a server has and who may do what on it.
//
// A Store keeps the organisations, groups, databases, members, API tokens and the
// audit log, in a SQLite file of the data directory. Secrets are kept as hashes.
//
// A Key signs the access tokens of databases: JSON Web Tokens signed with
// Ed25519, each naming a database or a group, an access and an end.
//
// The key is a file in the data directory. Whoever can read it can make tokens
// for every database; deleting it, and starting the server again, voids all
// tokens there are.
package catalog
