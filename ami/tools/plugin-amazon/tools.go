//go:build tools

// Package tools pins what scripts/lib/packer.sh builds.
package tools

import _ "github.com/hashicorp/packer-plugin-amazon"
