# Puts the programs in their places. A line of the list is a digest, the name of the upload, the loader that the program wants
# (- for none) and the path, which ends the line.
while IFS=' ' read -r digest upload loader path; do
	[ -e "$here/$upload" ] || continue # it is there already
	same "$here/$upload" "$digest" || fail "the upload of $path has another SHA-256 than $digest"
	[ "$loader" = - ] || [ -x "$loader" ] || fail "$path wants the interpreter $loader, which the machine lacks"
	cp -- "$here/$upload" "$path.strongroom-new" && chown 0:0 -- "$path.strongroom-new" && chmod 0711 -- "$path.strongroom-new" &&
		mv -f -T -- "$path.strongroom-new" "$path" || fail "cannot install $path"
	rm -f -- "$here/$upload"
	changed "$path"
done <"$here/programs.list"
