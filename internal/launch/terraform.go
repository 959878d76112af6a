package launch

import "strings"

// TerraformText is a string that Terraform's JSON takes as it is: elsewhere in such a file ${ and %{ begin a template.
func TerraformText(s string) string {
	return strings.NewReplacer("${", "$${", "%{", "%%{").Replace(s)
}
