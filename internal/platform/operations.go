package platform

// operation describes a route for the OpenAPI document.
type operation struct {
	id    string
	in    string // schema of the body; "": none
	query string // names of parameters
	out   string // schema of the answer
	out2  string // the same below /v2, if it is another one there
	fails string // statuses of errors that not all such routes have
}

// Names of what is no JSON.
const (
	bodyUpload = "upload" // in: a file, as the body or in a form
	answerFile = "file"   // out: a SQLite file
)

// operations describes the routes, by method and path.
var operations = map[string]operation{
	"GET databases":                                 {id: "listDatabases", query: "limit cursor group parent schema type", out: "Databases"},
	"POST databases":                                {id: "createDatabase", in: "NewDatabase", out: "CreatedDatabase", fails: "404 409 422"},
	"POST databases/dumps":                          {id: "uploadDump", in: bodyUpload, out: "Upload"},
	"GET databases/{database}":                      {id: "getDatabase", out: "DatabaseAnswer"},
	"DELETE databases/{database}":                   {id: "deleteDatabase", out: "DeletedDatabase"},
	"GET databases/{database}/configuration":        {id: "getDatabaseConfiguration", out: "Configuration"},
	"PATCH databases/{database}/configuration":      {id: "updateDatabaseConfiguration", in: "ConfigurationUpdate", out: "Configuration", fails: "422"},
	"GET databases/{database}/usage":                {id: "getDatabaseUsage", query: "from to", out: "DatabaseUsage", fails: "507"},
	"GET databases/{database}/stats":                {id: "getDatabaseStats", out: "DatabaseStats"},
	"GET databases/{database}/instances":            {id: "listInstances", out: "Instances"},
	"GET databases/{database}/instances/{instance}": {id: "getInstance", out: "InstanceAnswer"},
	"POST databases/{database}/auth/tokens":         {id: "createDatabaseToken", in: "TokenRequest", query: "expiration authorization access subject", out: "DatabaseToken", fails: "422"},
	"POST databases/{database}/auth/rotate":         {id: "rotateDatabaseTokens", out: "Empty"},
	"POST databases/{database}/update":              {id: "updateDatabaseVersion", out: "Empty"},
	"POST databases/{database}/seed":                {id: "seedDatabase", in: bodyUpload, out: "DatabaseAnswer", fails: "409 422"},
	"POST databases/{database}/restore":             {id: "restoreDatabase", in: "Point", out: "Restored", fails: "422"},
	"GET databases/{database}/export":               {id: "exportDatabase", query: "revision timestamp", out: answerFile, fails: "422"},

	"GET groups":                                 {id: "listGroups", out: "Groups"},
	"POST groups":                                {id: "createGroup", in: "NewGroup", out: "GroupAnswer", fails: "409"},
	"GET groups/{group}":                         {id: "getGroup", out: "GroupAnswer"},
	"DELETE groups/{group}":                      {id: "deleteGroup", out: "GroupAnswer", fails: "409"},
	"GET groups/{group}/configuration":           {id: "getGroupConfiguration", out: "GroupConfiguration"},
	"PATCH groups/{group}/configuration":         {id: "updateGroupConfiguration", in: "GroupConfiguration", out: "GroupConfiguration"},
	"GET groups/{group}/usage":                   {id: "getGroupUsage", query: "from to", out: "GroupUsage", fails: "507"},
	"POST groups/{group}/locations/{location}":   {id: "addGroupLocation", out: "GroupAnswer", fails: "400"},
	"DELETE groups/{group}/locations/{location}": {id: "removeGroupLocation", out: "GroupAnswer", fails: "422"},
	"POST groups/{group}/auth/tokens":            {id: "createGroupToken", in: "TokenRequest", query: "expiration authorization access subject", out: "DatabaseToken", fails: "422"},
	"POST groups/{group}/auth/rotate":            {id: "rotateGroupTokens", out: "Empty"},
	"POST groups/{group}/update":                 {id: "updateGroupVersion", out: "Empty"},
	"POST groups/{group}/unarchive":              {id: "unarchiveGroup", out: "GroupAnswer"},

	"POST groups/{group}/transfer": {id: "transferGroup", in: "GroupTransfer", out: "Group", fails: "409"},

	"GET members":               {id: "listMembers", out: "Members"},
	"POST members":              {id: "addMember", in: "NewMember", out: "MemberRole", fails: "409"},
	"POST members/{username}":   {id: "addNamedMember", in: "NewMember", out: "MemberRole", fails: "409"},
	"GET members/{username}":    {id: "getMember", out: "MemberAnswer"},
	"PATCH members/{username}":  {id: "updateMember", in: "RoleUpdate", out: "MemberRole", fails: "409"},
	"DELETE members/{username}": {id: "removeMember", out: "RemovedMember", fails: "409"},
	"GET invites":               {id: "listInvites", out: "Invites"},
	"POST invites":              {id: "createInvite", in: "NewInvite", out: "Invited"},
	"DELETE invites/{email}":    {id: "deleteInvite", out: "Empty"},

	"GET api-tokens":            {id: "listOrganizationAPITokens", out: "OrganizationAPITokens"},
	"DELETE api-tokens/{token}": {id: "revokeOrganizationAPIToken", out: "RevokedAPIToken", fails: "404"},

	"GET audit-logs":   {id: "listAuditLogs", query: "page page_size", out: "AuditLogs"},
	"GET usage":        {id: "getOrganizationUsage", query: "from to", out: "OrganizationUsage", fails: "507"},
	"POST backups":     {id: "createBackup", out: "Backup"},
	"GET invoices":     {id: "listInvoices", out: "Invoices"},
	"GET plans":        {id: "listPlans", out: "Plans"},
	"GET subscription": {id: "getSubscription", out: "Subscription"},
	"PATCH ":           {id: "updateOrganization", in: "OrganizationUpdate", out: "OrganizationAnswer"},
	"DELETE ":          {id: "deleteOrganization", out: "DeletedOrganization", fails: "409"},

	"GET openapi.json":               {id: "getDocument", out: "Document"},
	"GET organizations":              {id: "listOrganizations", out: "Organizations"},
	"POST organizations":             {id: "createOrganization", in: "NewOrganization", out: "OrganizationAnswer", fails: "403 409"},
	"GET locations":                  {id: "listLocations", out: "Locations", out2: "LocationList"},
	"GET user":                       {id: "getUser", out: "User"},
	"GET current-user":               {id: "getCurrentUser", out: "User"},
	"GET auth/validate":              {id: "validateToken", out: "Validity"},
	"GET auth/api-tokens":            {id: "listAPITokens", out: "APITokens"},
	"GET auth/api-tokens/validate":   {id: "validateAPIToken", out: "Validity"},
	"POST auth/api-tokens/{token}":   {id: "createAPIToken", in: "APITokenFor", query: "expiration", out: "NewAPIToken", out2: "NewAPITokenValue", fails: "403 404 409 422"},
	"DELETE auth/api-tokens/{token}": {id: "revokeAPIToken", out: "RevokedAPIToken", fails: "404"},
}
