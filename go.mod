module github.com/strongroom/strongroom

go 1.26

// go-cty without gob breaks the plugin SDK's RPC: https://github.com/hashicorp/packer-plugin-sdk/issues/187
replace github.com/zclconf/go-cty => github.com/nywilken/go-cty v1.13.3
