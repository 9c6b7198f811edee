package agentdb

import "database/sql"

// A database/sql driver can only be found by a name that was registered
// before; this is the one place where importing the package has an effect.
func init() { sql.Register("agentdb", sqlDriver{}) }
