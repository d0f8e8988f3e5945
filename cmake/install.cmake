# What a package is made of: `cmake --install build --component gateway`. Units, users and other things that
# differ between distributions are theirs to place: deploy/.

install(TARGETS stsgate RUNTIME DESTINATION bin COMPONENT gateway)
install(TARGETS stsgate-worker stsgate-policy stsgate-check stsgate-status
    RUNTIME DESTINATION bin/${STSGATE_LIBEXECDIR} COMPONENT gateway)
file(GLOB documents ${PROJECT_SOURCE_DIR}/docs/*.md)
install(FILES ${documents} ${PROJECT_SOURCE_DIR}/README.md
    DESTINATION share/doc/stsgate COMPONENT gateway)
foreach(page ${MANUAL_PAGES})
    string(REGEX MATCH "[0-9]$" section ${page})
    install(FILES ${page} DESTINATION share/man/man${section} COMPONENT gateway)
endforeach()
install(FILES ${PROJECT_SOURCE_DIR}/deploy/stsgate.conf
    DESTINATION share/doc/stsgate/examples COMPONENT gateway)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/deploy/nftables
    DESTINATION share/doc/stsgate/examples COMPONENT gateway)
