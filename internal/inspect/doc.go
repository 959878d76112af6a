// Package inspect finds out what is in an image and whether it holds together, from its bytes alone: no root, no mount, no boot, and
// no other program. Packages below it read the formats.
package inspect
