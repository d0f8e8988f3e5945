# Manual pages, in man/ of the build: that of the configuration out of the table of keys, the others out of
# documents. Without Python those two are left out.

set(MANUAL_DIR ${PROJECT_BINARY_DIR}/man)
file(MAKE_DIRECTORY ${MANUAL_DIR})

add_custom_command(OUTPUT ${MANUAL_DIR}/stsgate.conf.5
    COMMAND stsgate config manual > ${MANUAL_DIR}/stsgate.conf.5
    DEPENDS stsgate)
set(MANUAL_PAGES ${MANUAL_DIR}/stsgate.conf.5)

find_package(Python3 COMPONENTS Interpreter)

# manual_page(DOCUMENT FILE ARGUMENT...): as cmake/manual.py takes them behind its document.
function(manual_page document file)
    if(NOT Python3_Interpreter_FOUND)
        message(STATUS "no Python: ${file} is not made")
        return()
    endif()
    set(source ${PROJECT_SOURCE_DIR}/docs/${document})
    set(generator ${PROJECT_SOURCE_DIR}/cmake/manual.py)
    add_custom_command(OUTPUT ${MANUAL_DIR}/${file}
        COMMAND ${Python3_EXECUTABLE} ${generator} ${source} ${ARGN} > ${MANUAL_DIR}/${file}
        DEPENDS ${source} ${generator} VERBATIM)
    set(MANUAL_PAGES ${MANUAL_PAGES} ${MANUAL_DIR}/${file} PARENT_SCOPE)
endfunction()

manual_page(commands.md stsgate.8 stsgate\(8\) ${PROJECT_VERSION}
    "gateway that enforces MTA-STS and DANE for mail on its way out" "`stsgate` *VERB* [*ARGUMENT*]..."
    stsgate.conf\(5\) stsgate-records\(5\) nft\(8\) systemctl\(1\))
manual_page(records.md stsgate-records.5 stsgate-records\(5\) ${PROJECT_VERSION}
    "records of stsgate" "" stsgate\(8\) stsgate.conf\(5\))

add_custom_target(man ALL DEPENDS ${MANUAL_PAGES})
